import { Births, type CountsFromZero, type ScraperView } from '#collectors/births.ts';
import { type Family, type Foldable, type PutColumn, seriesPerRow, type VisitSample } from '#collectors/family.ts';
import { renderLabels } from '#collectors/labels.ts';
import { OpenLabelLimit } from '#collectors/open_label.ts';
import { isReset, type SampleLabels, type SampleValue, zeroOf } from '#collectors/sample.ts';
import { encode } from '#collectors/text_writer.ts';
import { type EmitOptions, isOpen, type MetricDescriptor } from '#probe/metric.ts';

/**
 * A simple reference implementation of metric families with maps of row objects. Tests compare its pages with those of
 * the collectors.
 */
export function createReferenceFamily(
  descriptor: MetricDescriptor,
  overflowed: (label: string) => void,
  fromZero: CountsFromZero = () => false,
): Family {
  const isPlain = Object.keys(descriptor.labels).length === 0 && descriptor.type !== 'histogram';
  return isPlain ? new PlainFamily(descriptor, fromZero) : new LabelledFamily(descriptor, overflowed, fromZero);
}

/** A family with one value per entity, stored in arrays that are indexed by slot. Samples cause no allocations. */
class PlainFamily implements Family {
  readonly descriptor: MetricDescriptor;
  readonly kind = 'plain';
  #cycle = 0;
  #shown = -1;
  #count = 0;
  #cycles = new Uint32Array(16);
  #values = new Float64Array(16);
  /** Values that a double cannot represent exactly. */
  readonly #wide = new Map<number, bigint>();
  #committed = 0;
  /** The oldest cycle whose values stay on the page, by retired entity. */
  readonly #retired = new Map<number, number>();
  readonly #fromZero: CountsFromZero;
  /** Slots that had no value before this cycle. */
  readonly #fresh = new Set<number>();
  readonly #births = new Births<number>();

  constructor(descriptor: MetricDescriptor, fromZero: CountsFromZero) {
    this.descriptor = descriptor;
    this.#fromZero = fromZero;
  }

  get isShown(): boolean {
    return this.#shown === this.#cycle;
  }

  get series(): number {
    return this.isShown ? this.#count : 0;
  }

  begin(): void {
    this.#cycle++;
    this.#count = 0;
    for (const slot of this.#wide.keys()) if (!this.#retired.has(slot)) this.#wide.delete(slot);
  }

  put(slot: number, value: SampleValue): void {
    if (slot >= this.#cycles.length) this.#grow(slot);
    if (this.#cycles[slot] !== this.#cycle) this.#count++;
    if (this.#cycles[slot] === 0 && this.descriptor.type !== 'gauge') this.#fresh.add(slot);
    this.#cycles[slot] = this.#cycle;
    if (typeof value === 'bigint') {
      this.#wide.set(slot, value);
    } else {
      this.#values[slot] = value as number;
      if (this.#wide.size > 0) this.#wide.delete(slot);
    }
  }

  column(): PutColumn {
    return (slot, value) => this.put(slot, value);
  }

  commit(nowMs: number): void {
    this.#shown = this.#cycle;
    this.#committed = this.#cycle;
    this.#births.commit(nowMs);
    for (const slot of this.#fresh) {
      if (this.#cycles[slot] !== this.#cycle) continue;
      this.#fresh.delete(slot);
      if (this.#fromZero(slot)) this.#births.add(slot, nowMs);
    }
    for (const [slot, sinceCycle] of this.#retired) {
      if (!this.#cycles[slot] || this.#cycles[slot] < sinceCycle) continue;
      if (this.#cycles[slot] !== this.#cycle) this.#count++;
      this.#cycles[slot] = this.#cycle;
    }
  }

  clear(): void {
    this.#shown = -1;
    this.#births.away();
  }

  stop(): void {
    this.clear();
    this.#committed = ++this.#cycle;
  }

  retire(slot: number): void {
    this.#retired.set(slot, this.#committed);
  }

  forget(slot: number): void {
    if (slot < this.#cycles.length) this.#cycles[slot] = 0;
    this.#wide.delete(slot);
    this.#retired.delete(slot);
    this.#fresh.delete(slot);
    this.#births.delete(slot);
  }

  renamed(slot: number, nowMs: number): void {
    this.#births.holdAnew(slot, nowMs);
  }

  fold(): number {
    return 0;
  }

  visit(visit: VisitSample, view?: ScraperView): void {
    if (!this.isShown) return;
    const cycles = this.#cycles;
    for (let slot = 0; slot < cycles.length; slot++) {
      if (cycles[slot] !== this.#cycle) continue;
      const value = this.#wide.get(slot) ?? (this.#values[slot] as number);
      visit(slot, undefined, this.#births.isAtZero(slot, view) ? 0 : value);
    }
  }

  #grow(slot: number): void {
    const length = Math.max(slot + 1, this.#cycles.length * 2);
    const cycles = new Uint32Array(length);
    cycles.set(this.#cycles);
    this.#cycles = cycles;
    const values = new Float64Array(length);
    values.set(this.#values);
    this.#values = values;
  }
}

interface Row {
  readonly labels: Uint8Array;
  value: SampleValue;
  cycle: number;
  /** If set, the row is never collapsed into `*`. */
  keep: boolean;
}

/** Number of cycles after which a row without a new value is removed. */
const STALE_CYCLES = 16;
/**
 * Maximum number of removed counter rows to remember per entity. A remembered row that reappears continues from its
 * last value instead of starting at zero.
 */
const ABSENT_MAX = 256;

/** Rows by entity and label values. */
class LabelledFamily implements Family {
  readonly descriptor: MetricDescriptor;
  readonly kind: Foldable | 'plain';
  readonly #names: readonly string[];
  readonly #limit: OpenLabelLimit | undefined;
  #cycle = 0;
  #shown = -1;
  #count = 0;
  #level = 0;
  readonly #slots = new Map<number, Map<string, Row>>();
  #committed = 0;
  /** The oldest cycle whose rows stay on the page, by retired entity. */
  readonly #retired = new Map<number, number>();
  /** Rendered labels. All entities share them. */
  readonly #rendered = new Map<string, Uint8Array>();
  readonly #fromZero: CountsFromZero;
  /** Slots of new rows, and of rows whose counters restarted while the rows were removed. */
  readonly #fresh = new Map<Row, number>();
  readonly #births = new Births<Row>();

  constructor(descriptor: MetricDescriptor, overflowed: (label: string) => void, fromZero: CountsFromZero) {
    this.descriptor = descriptor;
    this.#fromZero = fromZero;
    this.#names = Object.keys(descriptor.labels);
    const open = Object.entries(descriptor.labels).filter(([, label]) => isOpen(label));
    this.#limit = open.length === 0 ? undefined : new OpenLabelLimit(descriptor, overflowed);
    this.kind = this.#limit === undefined ? 'plain' : 'labels';
  }

  get isShown(): boolean {
    return this.#shown === this.#cycle;
  }

  get series(): number {
    return this.isShown ? this.#count : 0;
  }

  begin(): void {
    this.#cycle++;
    this.#count = 0;
    this.#limit?.begin();
    if (this.#cycle % STALE_CYCLES === 0) this.#dropStale();
  }

  put(slot: number, value: SampleValue, labels: SampleLabels, options?: EmitOptions): void {
    if (this.#limit?.collapses(slot, labels, value, options)) return;
    this.#set(slot, labels, value, options?.keep === true);
  }

  column(labels: SampleLabels): PutColumn {
    return (slot, value) => this.put(slot, value, labels);
  }

  commit(nowMs: number): void {
    this.#shown = this.#cycle;
    this.#limit?.commit(this.#setTotal);
    this.#committed = this.#cycle;
    this.#births.commit(nowMs);
    for (const [row, slot] of this.#fresh) {
      if (row.cycle !== this.#cycle) continue;
      this.#fresh.delete(row);
      if (this.#births.isUnseen(row)) this.#births.holdAnew(row, nowMs);
      else if (this.#fromZero(slot)) this.#births.add(row, nowMs);
    }
    for (const [slot, sinceCycle] of this.#retired) {
      for (const row of this.#slots.get(slot)?.values() ?? []) if (row.cycle >= sinceCycle) this.#show(row);
    }
  }

  clear(): void {
    this.#shown = -1;
    this.#births.away();
  }

  stop(): void {
    this.clear();
    this.#committed = ++this.#cycle;
  }

  retire(slot: number): void {
    this.#retired.set(slot, this.#committed);
  }

  forget(slot: number): void {
    this.#retired.delete(slot);
    for (const row of this.#slots.get(slot)?.values() ?? []) {
      this.#fresh.delete(row);
      this.#births.delete(row);
    }
    this.#slots.delete(slot);
    this.#limit?.forget(slot);
  }

  renamed(slot: number, nowMs: number): void {
    if (this.#births.size === 0) return;
    for (const row of this.#slots.get(slot)?.values() ?? []) this.#births.holdAnew(row, nowMs);
  }

  fold(level: number): number {
    const limit = this.#limit;
    if (limit === undefined) return 0;
    const isMore = level > this.#level;
    this.#level = level;
    limit.fold(level);
    if (!isMore || !this.isShown) return 0;
    const before = this.#count;
    for (const [slot, rows] of this.#slots) {
      for (const [key, row] of rows) {
        if (row.cycle !== this.#cycle || row.keep || !limit.folds(slot, this.#labelsOf(key), row.value)) continue;
        rows.delete(key);
        this.#count -= this.#seriesOf(row.value);
      }
    }
    limit.totals(this.#setTotal);
    // A new total consists of values that other rows have already shown, so it must not start at zero.
    this.#fresh.clear();
    return before - this.#count;
  }

  visit(visit: VisitSample, view?: ScraperView): void {
    if (!this.isShown) return;
    for (const [slot, rows] of this.#slots) {
      for (const row of rows.values()) {
        if (row.cycle !== this.#cycle) continue;
        visit(slot, row.labels, this.#births.isAtZero(row, view) ? zeroOf(row.value) : row.value);
      }
    }
  }

  readonly #setTotal = (slot: number, labels: SampleLabels, total: SampleValue): void =>
    this.#set(slot, labels, total, false);

  #set(slot: number, labels: SampleLabels, value: SampleValue, keep: boolean): void {
    const key = this.#key(labels);
    let rows = this.#slots.get(slot);
    if (rows === undefined) {
      rows = new Map();
      this.#slots.set(slot, rows);
    }
    let row = rows.get(key);
    if (row === undefined) {
      row = { labels: this.#render(key, labels), value, cycle: -1, keep };
      rows.set(key, row);
      if (this.#grows) this.#fresh.set(row, slot);
    } else {
      const wasAway = row.cycle < this.#committed;
      const isHeldAnew = this.#births.isUnseen(row) || isReset(value, row.value);
      if (wasAway && this.#grows && isHeldAnew) this.#fresh.set(row, slot);
      row.value = value;
      row.keep = keep;
    }
    this.#show(row);
  }

  #show(row: Row): void {
    if (row.cycle === this.#cycle) return;
    row.cycle = this.#cycle;
    this.#count += this.#seriesOf(row.value);
  }

  #seriesOf(value: SampleValue): number {
    return typeof value === 'object' ? seriesPerRow(this.descriptor, value.shown) : 1;
  }

  /** Returns the labels that a key encodes. */
  #labelsOf(key: string): SampleLabels {
    const values = key.split('\0');
    return Object.fromEntries(this.#names.map((name, index) => [name, values[index] ?? '']));
  }

  #key(labels: SampleLabels): string {
    const [first] = this.#names;
    if (this.#names.length === 1 && first !== undefined) return labels[first] ?? '';
    return this.#names.map((name) => labels[name]).join('\0');
  }

  #render(key: string, labels: SampleLabels): Uint8Array {
    let rendered = this.#rendered.get(key);
    if (rendered === undefined) {
      const ordered = Object.fromEntries(this.#names.map((name) => [name, labels[name] ?? '']));
      rendered = encode(renderLabels(ordered));
      this.#rendered.set(key, rendered);
    }
    return rendered;
  }

  get #grows(): boolean {
    return this.descriptor.type !== 'gauge';
  }

  #dropStale(): void {
    const used = new Set<string>();
    for (const rows of this.#slots.values()) {
      const stale = [...rows].filter(([, { cycle }]) => cycle + STALE_CYCLES < this.#cycle);
      const kept = this.#grows ? ABSENT_MAX : 0;
      if (stale.length > kept) {
        stale.sort(([, a], [, b]) => a.cycle - b.cycle);
        for (const [key, row] of stale.slice(0, stale.length - kept)) {
          rows.delete(key);
          this.#fresh.delete(row);
        }
      }
      for (const key of rows.keys()) used.add(key);
    }
    for (const key of this.#rendered.keys()) if (!used.has(key)) this.#rendered.delete(key);
  }
}
