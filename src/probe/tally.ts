import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, misses } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NotShown, Uncounted } from './status.ts';

/** Map that src/bpf/common/misses.bpf.h adds to an object. */
const MISSES: CommonLayout['map'] = 'misses';

/** Counts in the maps of a BPF probe, which continue across runs of the probe. */
export interface Tally {
  /** Name of the map that holds the counts. */
  readonly map: string;
  uncounted(): Uncounted;
  notShown?(): NotShown;
  /**
   * Removes the rows of dead namespaces to make room for new ones. Returns the number of remaining rows by namespace.
   */
  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number>;
  /** Clears the sums of a slot whose owner no longer exists, before the slot gets another owner. */
  freed(slot: number): void;
  /** Stores the counts for the next run. Must be called once, after the programs have been detached. */
  remember(): void;
}

/** Returns the number of occurrences that the object could not count, for each cause. */
export function readMisses(object: BpfObject, earlier: Uncounted): Required<Uncounted> {
  const { mapFull, untracked, noNetns } = sumPerCpu(object, MISSES, misses);
  return {
    map_full: addCounters(mapFull, earlier.map_full ?? 0),
    untracked: addCounters(untracked, earlier.untracked ?? 0),
    no_netns: addCounters(noNetns, earlier.no_netns ?? 0),
  };
}

const REST = 1n << 63n;

/**
 * Returns the key of the row with the counts for which a slot has no free row. The key is used in place of a namespace
 * cookie (src/bpf/common/room.bpf.h).
 */
export function restOf(slot: number): NetnsId {
  return asNetnsId(REST | BigInt(slot));
}

/** Returns the slot in a key that `restOf` returned; undefined if the key is a namespace. */
export function slotOfRest(id: NetnsId): number | undefined {
  return typeof id === 'bigint' && id >= REST ? Number(id - REST) : undefined;
}

/** Returns whether any slot had no free row, so that counts were added to its sums. */
export function hasRest(object: BpfObject): boolean {
  return sumPerCpu(object, MISSES, misses).addedUp !== 0;
}

/**
 * Deletes the entries of dead namespaces. Returns the number of remaining entries by namespace.
 * @param gone called with each deleted entry
 */
export function sweepMap(
  map: BpfMap,
  isDead: (id: NetnsId) => boolean,
  netnsOf: (view: DataView, at: number) => NetnsId,
  gone: (view: DataView, keyAt: number, valueAt: number) => void = () => undefined,
): Map<NetnsId, number> {
  const { count, view, keyAt, valueAt } = map.dump();
  const left = new Map<NetnsId, number>();
  for (let index = 0; index < count; index++) {
    const at = keyAt(index);
    const id = netnsOf(view, at);
    if (slotOfRest(id) !== undefined) continue;
    if (isDead(id)) {
      gone(view, at, valueAt(index));
      map.delete(new Uint8Array(view.buffer.slice(at, at + map.keyBytes)));
    } else left.set(id, (left.get(id) ?? 0) + 1);
  }
  return left;
}

/** Returns the u64 fields of the only entry of a per-CPU array, summed over the CPUs. */
export function sumPerCpu<Field extends string>(
  object: BpfObject,
  name: string,
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
