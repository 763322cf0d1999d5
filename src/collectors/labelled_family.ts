import { type EmitOptions, isOpen, type MetricDescriptor } from '#probe/metric.ts';
import { Births, type CountsFromZero, type ScraperView } from './births.ts';
import { type Family, type Foldable, type PutColumn, seriesPerRow, type VisitSample } from './family.ts';
import { renderLabels } from './labels.ts';
import { OpenLabelLimit } from './open_label.ts';
import { Rows } from './rows.ts';
import { isReset, type SampleLabels, type SampleValue, zeroOf } from './sample.ts';
import { encode } from './text_writer.ts';

/** Number of cycles without a sample after which a row is stale. */
const STALE_CYCLES = 16;
/**
 * Maximum number of stale counter rows to keep per entity. A kept row that reappears continues from its last value
 * instead of starting from zero.
 */
const ABSENT_MAX = 256;

/** The rows of a metric by entity and label values. */
export class LabelledFamily implements Family {
  readonly descriptor: MetricDescriptor;
  readonly kind: Foldable | 'plain';
  readonly #names: readonly string[];
  readonly #limit: OpenLabelLimit | undefined;
  #cycle = 0;
  #shown = -1;
  #count = 0;
  #level = 0;
  readonly #rows = new Rows();
  /** Rows, by slot and by the key of their labels. */
  readonly #slots = new Map<number, Map<string, number>>();
  /** All rows in the order of the page. The array is rebuilt after a row has been added or removed. */
  #order: Int32Array | undefined;
  /** Rows that columns write to, by key and slot. The row number may have been reused for another row. */
  readonly #places = new Map<string, number[]>();
  #committed = 0;
  /** Slots of retired entities, each with the oldest cycle whose rows stay on the page. */
  readonly #retired = new Map<number, number>();
  /** Rendered labels by key, shared by all entities. */
  readonly #rendered = new Map<string, Uint8Array>();
  readonly #fromZero: CountsFromZero;
  /** Rows that have not been on a page yet, or that were reset while they were absent. */
  readonly #fresh = new Set<number>();
  readonly #births = new Births<number>();

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
    // Open labels can have too many values to remember a row for each value. Each value may also be collapsed.
    if (this.#limit !== undefined) return (slot, value) => this.put(slot, value, labels);
    const key = this.#key(labels);
    let places = this.#places.get(key);
    if (places === undefined) {
      places = [];
      this.#places.set(key, places);
    }
    const known = places;
    return (slot, value) => {
      const before = known[slot];
      const row = before !== undefined && this.#rows.is(before, slot, key) ? before : this.#row(slot, key, labels);
      while (known.length < slot) known.push(NO_PLACE);
      known[slot] = row;
      this.#write(row, value, false);
    };
  }

  commit(nowMs: number): void {
    this.#shown = this.#cycle;
    this.#limit?.commit(this.#setTotal);
    this.#committed = this.#cycle;
    this.#births.commit(nowMs);
    const { cycles, slots } = this.#rows;
    for (const row of this.#fresh) {
      if (cycles[row] !== this.#cycle) continue;
      this.#fresh.delete(row);
      if (this.#births.isUnseen(row)) this.#births.holdAnew(row, nowMs);
      else if (this.#fromZero(slots[row] as number)) this.#births.add(row, nowMs);
    }
    for (const [slot, sinceCycle] of this.#retired) {
      for (const row of this.#slots.get(slot)?.values() ?? []) {
        if ((cycles[row] as number) >= sinceCycle) this.#show(row);
      }
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
    for (const row of this.#slots.get(slot)?.values() ?? []) this.#release(row);
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
        const value = this.#rows.value(row);
        if (this.#rows.cycles[row] !== this.#cycle || this.#rows.keep(row)) continue;
        if (!limit.folds(slot, this.#labelsOf(key), value)) continue;
        rows.delete(key);
        this.#release(row);
        this.#count -= this.#seriesOf(value);
      }
    }
    limit.totals(this.#setTotal);
    // Totals that are created here are sums of values that other rows have already shown, so they are not new.
    this.#fresh.clear();
    return before - this.#count;
  }

  visit(visit: VisitSample, view?: ScraperView): void {
    if (!this.isShown) return;
    this.#order ??= Int32Array.from([...this.#slots.values()].flatMap((rows) => [...rows.values()]));
    const { cycles, slots } = this.#rows;
    for (let index = 0; index < this.#order.length; index++) {
      const row = this.#order[index] as number;
      if (cycles[row] !== this.#cycle) continue;
      const value = this.#rows.value(row);
      const isAtZero = this.#births.isAtZero(row, view);
      visit(slots[row] as number, this.#rows.labels(row), isAtZero ? zeroOf(value) : value);
    }
  }

  readonly #setTotal = (slot: number, labels: SampleLabels, total: SampleValue): void =>
    this.#set(slot, labels, total, false);

  #set(slot: number, labels: SampleLabels, value: SampleValue, keep: boolean): void {
    this.#write(this.#row(slot, this.#key(labels), labels), value, keep);
  }

  #row(slot: number, key: string, labels: SampleLabels): number {
    let rows = this.#slots.get(slot);
    if (rows === undefined) {
      rows = new Map();
      this.#slots.set(slot, rows);
    }
    let row = rows.get(key);
    if (row === undefined) {
      row = this.#rows.take(slot, key, this.#render(key, labels));
      rows.set(key, row);
      this.#order = undefined;
      if (this.#grows) this.#fresh.add(row);
    }
    return row;
  }

  #write(row: number, value: SampleValue, keep: boolean): void {
    const wasAway = (this.#rows.cycles[row] as number) < this.#committed;
    if (wasAway && this.#grows) {
      const isHeldAnew = this.#births.isUnseen(row) || isReset(value, this.#rows.value(row));
      if (isHeldAnew) this.#fresh.add(row);
    }
    this.#rows.set(row, value, keep);
    this.#show(row);
  }

  #release(row: number): void {
    this.#fresh.delete(row);
    this.#births.delete(row);
    this.#rows.release(row);
    this.#order = undefined;
  }

  #show(row: number): void {
    const { cycles } = this.#rows;
    if (cycles[row] === this.#cycle) return;
    cycles[row] = this.#cycle;
    this.#count += this.#seriesOf(this.#rows.value(row));
  }

  #seriesOf(value: SampleValue): number {
    return typeof value === 'object' ? seriesPerRow(this.descriptor, value.shown) : 1;
  }

  /** Returns the labels that a key was made from. */
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
    const { cycles } = this.#rows;
    const cycleOf = (row: number) => cycles[row] as number;
    for (const rows of this.#slots.values()) {
      const stale = [...rows].filter(([, row]) => cycleOf(row) + STALE_CYCLES < this.#cycle);
      const kept = this.#grows ? ABSENT_MAX : 0;
      if (stale.length > kept) {
        stale.sort(([, a], [, b]) => cycleOf(a) - cycleOf(b));
        for (const [key, row] of stale.slice(0, stale.length - kept)) {
          rows.delete(key);
          this.#release(row);
        }
      }
      for (const key of rows.keys()) used.add(key);
    }
    for (const key of this.#rendered.keys()) if (!used.has(key)) this.#rendered.delete(key);
  }
}

const NO_PLACE = -1;
