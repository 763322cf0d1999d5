import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, misses } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Uncounted } from './contract.ts';

/** What src/bpf/common/misses.bpf.h puts into an object. */
const MISSES: CommonLayout['map'] = 'misses';

/** What the object of a BPF probe has counted, which goes on from run to run. */
export interface Tally {
  /** The map that it reads. */
  readonly map: string;
  uncounted(): Uncounted;
  /** Namespaces that are dead make room for new ones. Returns how many entries are left. */
  sweep(isDead: (id: NetnsId) => boolean): number;
  /** Keeps what was counted so far for the next run. Once, when nothing counts any more. */
  remember(): void;
}

/** What the object has missed, by all causes that there are. */
export function readMisses(object: BpfObject, earlier: Uncounted): Required<Uncounted> {
  const { mapFull, untracked, noNetns } = sumPerCpu(object, MISSES, misses);
  return {
    map_full: addCounters(mapFull, earlier.map_full ?? 0),
    untracked: addCounters(untracked, earlier.untracked ?? 0),
    no_netns: addCounters(noNetns, earlier.no_netns ?? 0),
  };
}

/** Deletes entries by their keys. Returns how many are left. */
export function sweepMap(map: BpfMap, isGone: (view: DataView, at: number) => boolean): number {
  const { count, view, keyAt } = map.dump();
  let left = count;
  for (let index = 0; index < count; index++) {
    const at = keyAt(index);
    if (!isGone(view, at)) continue;
    map.delete(new Uint8Array(view.buffer.slice(at, at + map.keyBytes)));
    left--;
  }
  return left;
}

/** The fields of the one entry of a per-CPU array, each summed over the CPUs. All must be u64. */
export function sumPerCpu<Field extends string>(
  object: BpfObject,
  name: CommonLayout['map'],
  struct: { readonly SIZE: number; readonly offsets: Readonly<Record<Field, number>> },
): Record<Field, Counter> {
  const map = object.map(name);
  const value = new Uint8Array(map.valueBytes);
  map.lookup(new Uint8Array(map.keyBytes), value);
  const view = new DataView(value.buffer);
  const sums = Object.entries<number>(struct.offsets).map(([field, offset]) => {
    let sum: Counter = 0;
    for (let at = offset; at < value.length; at += struct.SIZE) sum = addCounters(sum, readCounter(view, at));
    return [field, sum];
  });
  return Object.fromEntries(sums);
}
