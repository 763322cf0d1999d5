import type { BpfObject } from 'bpf-napi';
import { type CommonLayout, countKey, countValue } from '#bpf/generated/common.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Uncounted } from './contract.ts';
import { defineRetained, type Retained } from './retained.ts';
import { NAMESPACES_MAX } from './room.ts';
import { readMisses, sweepMap, type Tally } from './tally.ts';

/** What src/bpf/common/counts.bpf.h puts into an object. */
export const COUNTS: CommonLayout['map'] = 'counts';
/** Four reasons in each of the namespaces that a node may hold. */
export const COUNTS_MAX = 4 * NAMESPACES_MAX;

export interface CountRow {
  readonly netns: NetnsId;
  /** What the probe tells apart, as its program numbers it. */
  readonly reason: number;
  readonly side: number;
  readonly count: Counter;
  readonly bytes: Counter;
}

/** What earlier runs of the probe have counted. */
interface Totals {
  readonly rows: readonly CountRow[];
  readonly uncounted: Uncounted;
}

export const COUNTED = defineRetained<Totals>(() => ({ rows: [], uncounted: {} }));

/** The counts of a BPF probe, which go on from run to run. */
export class Counts implements Tally {
  readonly map = COUNTS;
  readonly #object: BpfObject;
  readonly #earlier: Retained<Totals>;

  constructor(object: BpfObject, earlier: Retained<Totals>) {
    this.#object = object;
    this.#earlier = earlier;
  }

  rows(): readonly CountRow[] {
    const { count, view, keyAt, valueAt } = this.#object.map(COUNTS).dump();
    const rows = Array.from({ length: count }, (_, index) => ({
      netns: asNetnsId(countKey.netns(view, keyAt(index))),
      reason: countKey.reason(view, keyAt(index)),
      side: countKey.side(view, keyAt(index)),
      count: countValue.count(view, valueAt(index)),
      bytes: countValue.bytes(view, valueAt(index)),
    }));
    const earlier = this.#earlier.value.rows;
    return earlier.length === 0 ? rows : addRows(rows, earlier);
  }

  uncounted(): Uncounted {
    // All that it counts it sees at once: there is nothing to keep track of.
    const { map_full, no_netns } = readMisses(this.#object, this.#earlier.value.uncounted);
    return { map_full, no_netns };
  }

  sweep(isDead: (id: NetnsId) => boolean): number {
    const left = sweepMap(this.#object.map(COUNTS), (view, at) => isDead(asNetnsId(countKey.netns(view, at))));
    const { rows, uncounted } = this.#earlier.value;
    this.#earlier.value = { rows: rows.filter(({ netns }) => !isDead(netns)), uncounted };
    return left;
  }

  remember(): void {
    this.#earlier.value = { rows: this.rows(), uncounted: this.uncounted() };
  }
}

function addRows(rows: readonly CountRow[], more: readonly CountRow[]): CountRow[] {
  const keyOf = ({ netns, reason, side }: CountRow) => `${netns}/${reason}/${side}`;
  const sums = new Map(rows.map((row) => [keyOf(row), row]));
  for (const row of more) {
    const sum = sums.get(keyOf(row));
    const added =
      sum === undefined
        ? row
        : { ...row, count: addCounters(sum.count, row.count), bytes: addCounters(sum.bytes, row.bytes) };
    sums.set(keyOf(row), added);
  }
  return [...sums.values()];
}
