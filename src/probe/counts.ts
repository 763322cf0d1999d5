import type { BpfObject } from 'bpf-napi';
import { type CommonLayout, countKey, countValue, MAX_ENTRIES, ownerSlot } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import { addCounters, type Counter, subtractCounters } from '#core/counter.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { type Owners, SLOTS } from './owners.ts';
import { defineRetained, type Retained } from './retained.ts';
import { NAMESPACES_MAX } from './room.ts';
import type { NotShown, Uncounted } from './status.ts';
import { hasRest, readMisses, sweepMap, type Tally } from './tally.ts';

/** Map that src/bpf/common/counts.bpf.h adds to an object. */
export const COUNTS: CommonLayout['map'] = 'counts';
const REST: CommonLayout['map'] = 'count_rest';
/** Number of rows in the map. It is sufficient for four reasons in each namespace. */
export const COUNTS_MAX = 4 * NAMESPACES_MAX;

/**
 * Number of entries of `count_rest` per slot. These entries contain the sums of counts for which the slot has no free
 * row.
 */
const RESTS = MAX_ENTRIES.count_rest / SLOTS;
/**
 * Reason number that stands for all reasons that are not counted separately. Metrics show it as {@link OTHER_REASONS}.
 */
export const ANY_REASON = 0xffff_ffff;
export const OTHER_REASONS = 'other';

export interface CountRow {
  /** Namespace, or {@link UNLISTED} for the sum of all unowned namespaces. */
  readonly netns: NetnsId;
  /** Number that the BPF program uses for the reason, or {@link ANY_REASON}. */
  readonly reason: number;
  readonly side: number;
  readonly count: Counter;
  readonly bytes: Counter;
}

/** Returns the reason and side of an entry of `count_rest`. @param rest index of the entry within its slot */
export type RestKey = (rest: number) => Pick<CountRow, 'reason' | 'side'>;

/** Counts from earlier runs of the probe. */
interface Totals {
  readonly rows: readonly CountRow[];
  readonly uncounted: Uncounted;
  /** Counts that were already added to `unlisted` or `departed`, by key. They must not be added again. */
  readonly told: Map<string, CountRow>;
  /** Sums of the counts of unowned namespaces, by reason and side. */
  readonly unlisted: Map<string, CountRow>;
  /** Total of the counts of owners that are no longer on the page. */
  readonly departed: Counter;
}

/** How a row is reported. A `waiting` row is not reported yet, because its owner may still be found. */
type Fate = 'shown' | 'unlisted' | 'departed' | 'waiting';

export const COUNTED = defineRetained<Totals>(() => ({
  rows: [],
  uncounted: {},
  told: new Map(),
  unlisted: new Map(),
  departed: 0,
}));

/**
 * Counts of a BPF probe, which continue across runs of the probe. The counts of a namespace are attributed to its
 * owner. Counts that were reported as unowned remain unowned, even if the owner is found later.
 */
export class Counts implements Tally {
  readonly map = COUNTS;
  readonly #object: BpfObject;
  readonly #restKey: RestKey;
  readonly #owners: Owners;
  readonly #earlier: Retained<Totals>;
  #waiting: Counter = 0;

  constructor(object: BpfObject, restKey: RestKey, owners: Owners, earlier: Retained<Totals>) {
    this.#object = object;
    this.#restKey = restKey;
    this.#owners = owners;
    this.#earlier = earlier;
  }

  rows(): readonly CountRow[] {
    const { told, unlisted } = this.#earlier.value;
    this.#waiting = 0;
    const owned = this.#all().flatMap((row) => {
      const fate = this.#fateOf(row.netns);
      if (fate === 'unlisted' || fate === 'departed') {
        this.#tell(row, fate);
        return [];
      }
      const left = told.size === 0 ? row : minus(row, told.get(keyOf(row)));
      if (fate === 'waiting') this.#waiting = addCounters(this.#waiting, left.count);
      return left.count === 0 ? [] : [left];
    });
    const isSum = unlisted.size > 0 || owned.some(({ netns }) => this.#owners.homeOf(netns) !== netns);
    if (!isSum) return owned;
    const shown = owned.map((row) => ({ ...row, netns: this.#owners.homeOf(row.netns) }));
    return [...sumRows([...shown, ...unlisted.values()]).values()];
  }

  uncounted(): Uncounted {
    // The program can count everything that it observes, so `untracked` does not apply.
    const { map_full, no_netns } = readMisses(this.#object, this.#earlier.value.uncounted);
    return { map_full, no_netns };
  }

  notShown(): NotShown {
    return { departed: this.#earlier.value.departed, waiting: this.#waiting };
  }

  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number> {
    const isGone = (id: NetnsId) => id !== UNLISTED && isDead(id);
    const { told } = this.#earlier.value;
    // The sums in `count_rest` are kept until their slot is freed.
    const rests = new Set(this.#rest().map(keyOf));
    const isSwept = (row: CountRow) => isGone(row.netns) && !rests.has(keyOf(row));
    const kept: CountRow[] = [];
    for (const row of this.#all()) {
      if (!isSwept(row)) continue;
      const home = this.#owners.homeOf(row.netns);
      if (!this.#owners.wasOwned(row.netns)) this.#tell(row, 'unlisted');
      else if (isGone(home)) this.#tell(row, 'departed');
      else kept.push({ ...minus(row, told.get(keyOf(row))), netns: home });
      told.delete(keyOf(row));
    }
    const left = sweepMap(this.#object.map(COUNTS), isGone, (view, at) => asNetnsId(countKey.netns(view, at)));
    const { value } = this.#earlier;
    const rows = [...value.rows.filter((row) => !isSwept(row)), ...kept];
    this.#earlier.value = { ...value, rows: kept.length === 0 ? rows : [...sumRows(rows).values()] };
    return left;
  }

  freed(slot: number): void {
    const keys = new Set(this.#rest(slot).map(keyOf));
    for (const row of keys.size === 0 ? [] : this.#all()) {
      if (!keys.has(keyOf(row))) continue;
      this.#tell(row, 'departed');
      this.#earlier.value.told.delete(keyOf(row));
    }
    const { value } = this.#earlier;
    if (keys.size > 0) this.#earlier.value = { ...value, rows: value.rows.filter((row) => !keys.has(keyOf(row))) };
    const none = new Uint8Array(countValue.SIZE);
    for (let rest = 0; rest < RESTS; rest++) this.#object.map(REST).update(bytesOf(slot * RESTS + rest), none);
  }

  remember(): void {
    this.#earlier.value = { ...this.#earlier.value, rows: this.#all(), uncounted: this.uncounted() };
  }

  /** Returns the counts of all namespaces, including those from earlier runs. */
  #all(): CountRow[] {
    const { count, view, keyAt, valueAt } = this.#object.map(COUNTS).dump();
    const rows = Array.from({ length: count }, (_, index) => ({
      netns: asNetnsId(countKey.netns(view, keyAt(index))),
      reason: countKey.reason(view, keyAt(index)),
      side: countKey.side(view, keyAt(index)),
      count: countValue.count(view, valueAt(index)),
      bytes: countValue.bytes(view, valueAt(index)),
    }));
    const rest = this.#rest();
    const earlier = this.#earlier.value.rows;
    return rest.length + earlier.length === 0 ? rows : [...sumRows([...rows, ...rest, ...earlier]).values()];
  }

  #fateOf(id: NetnsId): Fate {
    if (id === UNLISTED) return 'shown';
    if (this.#owners.hasDeparted(this.#owners.homeOf(id))) return 'departed';
    if (this.#owners.wasOwned(id)) return 'shown';
    return this.#owners.isUnowned(id) ? 'unlisted' : 'waiting';
  }

  /**
   * Returns the sums in `count_rest`. The sums of an owner are returned under the owner's namespace.
   * @param only slot to read; undefined for all slots
   */
  #rest(only?: number): CountRow[] {
    if (!hasRest(this.#object)) return [];
    const { count, view, keyAt, valueAt } = this.#object.map(REST).dump();
    const rows: CountRow[] = [];
    for (let index = 0; index < count; index++) {
      const counted = countValue.count(view, valueAt(index));
      if (counted === 0) continue;
      const place = view.getUint32(keyAt(index), true);
      const slot = Math.floor(place / RESTS);
      if (only !== undefined && slot !== only) continue;
      const netns = slot < ownerSlot.first ? UNLISTED : this.#owners.ownerOf(slot)?.home;
      if (netns === undefined) continue;
      rows.push({
        ...this.#restKey(place % RESTS),
        netns,
        count: counted,
        bytes: countValue.bytes(view, valueAt(index)),
      });
    }
    return rows;
  }

  /** Adds the increase of a row since the last call for this row to `unlisted` or `departed`. */
  #tell(row: CountRow, as: 'unlisted' | 'departed'): void {
    const { value } = this.#earlier;
    const more = { ...minus(row, value.told.get(keyOf(row))), netns: UNLISTED };
    if (more.count === 0) return;
    value.told.set(keyOf(row), row);
    if (as === 'departed') {
      this.#earlier.value = { ...value, departed: addCounters(value.departed, more.count) };
      return;
    }
    const sum = value.unlisted.get(keyOf(more));
    value.unlisted.set(keyOf(more), sum === undefined ? more : plus(sum, more));
  }
}

function keyOf({ netns, reason, side }: CountRow): string {
  return `${netns}/${reason}/${side}`;
}

function plus(a: CountRow, b: CountRow): CountRow {
  return { ...a, count: addCounters(a.count, b.count), bytes: addCounters(a.bytes, b.bytes) };
}

function minus(a: CountRow, b: CountRow | undefined): CountRow {
  if (b === undefined) return a;
  return { ...a, count: subtractCounters(a.count, b.count), bytes: subtractCounters(a.bytes, b.bytes) };
}

function sumRows(rows: readonly CountRow[]): Map<string, CountRow> {
  const sums = new Map<string, CountRow>();
  for (const row of rows) {
    const sum = sums.get(keyOf(row));
    sums.set(keyOf(row), sum === undefined ? row : plus(sum, row));
  }
  return sums;
}
