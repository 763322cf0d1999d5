import { type EmitOptions, isOpen, type MetricDescriptor } from '#probe/metric.ts';
import type { SampleLabels } from './sample.ts';
import { addSamples, isReset, type SampleValue } from './sample.ts';

export const OVERFLOW = '*';

/**
 * Maximum number of collapsed rows to remember after they disappear, so that a row that reappears is not counted twice.
 */
const REMEMBERED_MAX = 1_024;

interface Collapsed {
  labels: SampleLabels;
  /** Sum of the counts before each reset; undefined if the row was never reset. */
  before: SampleValue | undefined;
  last: SampleValue;
  cycle: number;
}

interface Slot {
  readonly index: number;
  /** Number of the collection in which the admitted values were last cleared, which happens only for gauges. */
  begun: number;
  /** Values that are shown, by the name of the label. Each value is stored with the last cycle that contained it. */
  readonly admitted: ReadonlyMap<string, Map<string, number>>;
  readonly collapsed: Map<string, Collapsed>;
  /** Sums of the rows that are no longer remembered, by collapsed labels. */
  readonly forgotten: Map<string, { readonly labels: SampleLabels; total: SampleValue }>;
}

/**
 * Limits the number of values of a metric's open labels for each entity. The first `max` values are shown. All further
 * values are summed under `*`, including a value that happens to be `*`. The sum over all rows stays exact. A counter
 * under `*` never decreases, because the last value of a row that disappears stays in the sum, and a collapsed row
 * stays collapsed even when another value disappears. For a gauge, the first values of each collection are shown.
 */
export class OpenLabelLimit {
  readonly #open: readonly { readonly name: string; readonly max: number }[];
  readonly #names: readonly string[];
  /** Whether the metric is a counter or histogram, whose values only grow. */
  readonly #grows: boolean;
  readonly #overflowed: (label: string) => void;
  readonly #slots = new Map<number, Slot>();
  /** Slots with values under `*`. Usually, there are none. */
  readonly #overfull = new Set<number>();
  #begun = 0;
  #level = 0;
  #committed = 0;
  /** Number of commits plus one. Failed collections do not count, because they do not reveal which rows are absent. */
  #cycle = 1;

  constructor(descriptor: MetricDescriptor, overflowed: (label: string) => void) {
    this.#names = Object.keys(descriptor.labels);
    this.#open = Object.entries(descriptor.labels).flatMap(([name, label]) =>
      isOpen(label) ? [{ name, max: label.max }] : [],
    );
    this.#grows = descriptor.type !== 'gauge';
    this.#overflowed = overflowed;
  }

  begin(): void {
    this.#cycle = this.#committed + 1;
    if (this.#grows) return;
    this.#begun++;
    for (const index of this.#overfull) this.#slots.get(index)?.collapsed.clear();
    this.#overfull.clear();
  }

  /**
   * Returns whether a sample is collapsed. The value of a collapsed sample becomes part of a total under `*`, which
   * `commit` reports.
   */
  collapses(slotIndex: number, labels: SampleLabels, value: SampleValue, options: EmitOptions | undefined): boolean {
    const slot = this.#slot(slotIndex);
    const known = slot.collapsed.size === 0 ? undefined : this.#known(slot, labels, options?.identity);
    const isKept = options?.keep === true && !this.#hasOverflow(labels);
    const collapsed = known?.labels ?? (isKept ? undefined : this.#admit(slot, labels));
    if (collapsed === undefined) return false;
    this.#note(slot, this.#identityKey(labels, options?.identity), collapsed, value);
    return true;
  }

  /**
   * Returns the collapsed row of a sample; undefined if the sample is not collapsed yet. A row that `fold` has
   * collapsed is first found by its labels, and is then stored under its identity.
   */
  #known(slot: Slot, labels: SampleLabels, identity: number | undefined): Collapsed | undefined {
    const key = this.#keyOf(labels);
    const byLabels = slot.collapsed.get(key);
    if (identity === undefined) return byLabels;
    const own = this.#identityKey(labels, identity);
    const known = slot.collapsed.get(own);
    if (known !== undefined || byLabels === undefined) return known;
    slot.collapsed.delete(key);
    slot.collapsed.set(own, byLabels);
    return byLabels;
  }

  /** Ends a collection, and reports the totals under `*`. */
  commit(set: (slot: number, labels: SampleLabels, total: SampleValue) => void): void {
    this.#committed = this.#cycle;
    if (this.#overfull.size === 0) return;
    this.totals(set);
    for (const slot of this.#slots.values()) this.#forgetSome(slot);
  }

  /**
   * Halves the limits `level` times. Values beyond the new limit are no longer admitted, and `folds` collapses their
   * rows. Counters that were collapsed stay collapsed.
   */
  fold(level: number): void {
    const isMore = level > this.#level;
    this.#level = level;
    if (!isMore) return;
    for (const slot of this.#slots.values()) {
      for (const { name, max } of this.#open) {
        const values = slot.admitted.get(name) as Map<string, number>;
        for (const value of [...values.keys()].slice(max >> level)) values.delete(value);
      }
      for (const row of slot.collapsed.values()) row.labels = this.#withoutPlace(slot, row.labels) ?? row.labels;
      for (const [key, { labels, total }] of slot.forgotten) {
        const folded = this.#withoutPlace(slot, labels);
        if (folded === undefined) continue;
        slot.forgotten.delete(key);
        this.#addForgotten(slot, folded, total);
      }
    }
  }

  /** If a shown row has a value that is no longer admitted, adds the row to the totals and returns true. */
  folds(slotIndex: number, labels: SampleLabels, value: SampleValue): boolean {
    const slot = this.#slot(slotIndex);
    const collapsed = this.#withoutPlace(slot, labels);
    if (collapsed === undefined) return false;
    // A row that is itself a total is recomputed from its parts.
    if (!this.#hasOverflow(labels)) this.#note(slot, this.#keyOf(labels), collapsed, value);
    return true;
  }

  /** Reports the totals under `*`. */
  totals(set: (slot: number, labels: SampleLabels, total: SampleValue) => void): void {
    for (const [index, slot] of this.#slots) {
      if (slot.collapsed.size + slot.forgotten.size === 0) continue;
      const totals = new Map<string, { labels: SampleLabels; total: SampleValue }>();
      const add = (labels: SampleLabels, value: SampleValue) => {
        const key = this.#keyOf(labels);
        const entry = totals.get(key);
        if (entry === undefined) totals.set(key, { labels, total: value });
        else entry.total = addSamples(entry.total, value);
      };
      for (const { labels, total } of slot.forgotten.values()) add(labels, total);
      for (const row of slot.collapsed.values()) {
        if (this.#grows) add(row.labels, countedOf(row));
        else if (row.cycle === this.#cycle) add(row.labels, row.last);
      }
      for (const { labels, total } of totals.values()) set(index, labels, total);
    }
  }

  forget(slot: number): void {
    this.#slots.delete(slot);
    this.#overfull.delete(slot);
  }

  #slot(index: number): Slot {
    let slot = this.#slots.get(index);
    if (slot === undefined) {
      slot = {
        index,
        begun: this.#begun,
        admitted: new Map(this.#open.map(({ name }) => [name, new Map()])),
        collapsed: new Map(),
        forgotten: new Map(),
      };
      this.#slots.set(index, slot);
    } else if (slot.begun !== this.#begun) {
      slot.begun = this.#begun;
      for (const values of slot.admitted.values()) values.clear();
    }
    return slot;
  }

  #hasOverflow(labels: SampleLabels): boolean {
    return this.#open.some(({ name }) => labels[name] === OVERFLOW);
  }

  /**
   * Admits the label values of a sample. If the limit is reached, returns the labels with `*` instead of the new value.
   */
  #admit(slot: Slot, labels: SampleLabels): SampleLabels | undefined {
    let collapsed: Record<string, string> | undefined;
    for (const { name, max } of this.#open) {
      const values = slot.admitted.get(name) as Map<string, number>;
      const value = labels[name] ?? '';
      if (value === OVERFLOW) {
        collapsed ??= { ...labels };
      } else if (!values.has(value) && values.size >= max >> this.#level && !this.#makeRoom(values)) {
        collapsed ??= { ...labels };
        collapsed[name] = OVERFLOW;
        this.#overflowed(name);
      } else {
        values.set(value, this.#cycle);
      }
    }
    return collapsed;
  }

  /** Removes a value that the last cycle did not contain. Returns whether there was such a value. */
  #makeRoom(values: Map<string, number>): boolean {
    for (const [value, cycle] of values) {
      if (cycle < this.#cycle - 1) {
        values.delete(value);
        return true;
      }
    }
    return false;
  }

  #note(slot: Slot, key: string, labels: SampleLabels, value: SampleValue): void {
    this.#overfull.add(slot.index);
    const row = slot.collapsed.get(key);
    if (row === undefined) {
      slot.collapsed.set(key, { labels, before: undefined, last: value, cycle: this.#cycle });
      return;
    }
    // The value was reset. For example, a new device with the same name starts at zero.
    if (this.#grows && isReset(value, row.last)) row.before = countedOf(row);
    row.last = value;
    row.cycle = this.#cycle;
  }

  #forgetSome(slot: Slot): void {
    if (slot.collapsed.size <= REMEMBERED_MAX) return;
    for (const [key, row] of slot.collapsed) {
      if (slot.collapsed.size <= REMEMBERED_MAX) return;
      if (row.cycle === this.#cycle) continue;
      slot.collapsed.delete(key);
      if (!this.#grows) continue;
      this.#addForgotten(slot, row.labels, countedOf(row));
    }
  }

  #addForgotten(slot: Slot, labels: SampleLabels, counted: SampleValue): void {
    this.#overfull.add(slot.index);
    const star = this.#keyOf(labels);
    const entry = slot.forgotten.get(star);
    if (entry === undefined) slot.forgotten.set(star, { labels, total: counted });
    else entry.total = addSamples(entry.total, counted);
  }

  /** Returns the labels with `*` in place of each value that is not admitted; undefined if all values are admitted. */
  #withoutPlace(slot: Slot, labels: SampleLabels): SampleLabels | undefined {
    let collapsed: Record<string, string> | undefined;
    for (const { name } of this.#open) {
      const value = labels[name] ?? '';
      if (value === OVERFLOW || slot.admitted.get(name)?.has(value)) continue;
      collapsed ??= { ...labels };
      collapsed[name] = OVERFLOW;
    }
    return collapsed;
  }

  /**
   * Returns the key of the object that the labels describe. An object with a known identity keeps its key when it is
   * renamed.
   */
  #identityKey(labels: SampleLabels, identity: number | undefined): string {
    if (identity === undefined) return this.#keyOf(labels);
    const closed = this.#names.filter((name) => !this.#open.some((open) => open.name === name));
    return [identity, ...closed.map((name) => labels[name])].join('\0\0');
  }

  #keyOf(labels: SampleLabels): string {
    const [first] = this.#names;
    if (this.#names.length === 1 && first !== undefined) return labels[first] ?? '';
    return this.#names.map((name) => labels[name]).join('\0');
  }
}

function countedOf({ before, last }: Collapsed): SampleValue {
  return before === undefined ? last : addSamples(before, last);
}
