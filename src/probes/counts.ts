import type { BpfObject } from 'bpf-napi';
import { countKey, countMisses, countValue } from '../bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '../counter.ts';
import type { Memory } from '../sources/memory.ts';
import { asNetnsId, type NetnsId } from './metric.ts';
import type { Uncounted } from './probe.ts';

/** What src/bpf/common/counts.bpf.h puts into an object. */
const COUNTS = 'counts';
const MISSES = 'count_misses';

const U64_BYTES = 8;

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

/** The counts of a BPF probe, which go on from run to run. */
export class Counts {
  readonly #object: BpfObject;
  readonly #earlier: Memory<Totals>;

  constructor(object: BpfObject, earlier: Memory<Totals>) {
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
    const earlier = this.#earlier.value?.rows ?? [];
    return earlier.length === 0 ? rows : addRows(rows, earlier);
  }

  uncounted(): Uncounted {
    const [mapFull = 0, noNetns = 0] = sumPerCpu(this.#object, MISSES, countMisses.SIZE / U64_BYTES);
    const earlier = this.#earlier.value?.uncounted;
    return {
      map_full: addCounters(mapFull, earlier?.map_full ?? 0),
      no_netns: addCounters(noNetns, earlier?.no_netns ?? 0),
    };
  }

  /** Namespaces that are dead make room for new ones. */
  sweep(isDead: (id: NetnsId) => boolean): void {
    const map = this.#object.map(COUNTS);
    const { count, view, keyAt } = map.dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      if (isDead(asNetnsId(countKey.netns(view, at))))
        map.delete(new Uint8Array(view.buffer.slice(at, at + countKey.SIZE)));
    }
    const { value } = this.#earlier;
    if (value !== undefined) this.#earlier.value = { ...value, rows: value.rows.filter(({ netns }) => !isDead(netns)) };
  }

  /** Keeps what was counted so far for the next run. Once, when nothing counts any more. */
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

/** The u64 fields of the one entry of a per-CPU array, each summed over the CPUs. */
export function sumPerCpu(object: BpfObject, name: string, fields: number): Counter[] {
  const map = object.map(name);
  const value = new Uint8Array(map.valueBytes);
  map.lookup(new Uint8Array(map.keyBytes), value);
  const view = new DataView(value.buffer);
  const stride = fields * U64_BYTES;
  return Array.from({ length: fields }, (_, field) => {
    let sum: Counter = 0;
    for (let at = field * U64_BYTES; at < value.length; at += stride) sum = addCounters(sum, readCounter(view, at));
    return sum;
  });
}
