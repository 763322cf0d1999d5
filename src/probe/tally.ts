import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, misses } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NotShown, Uncounted } from './status.ts';

/** Map that src/bpf/common/misses.bpf.h adds to an object. */
const MISSES: CommonLayout['map'] = 'misses';

/** Counts of a BPF probe's object, which continue from one run to the next. */
export interface Tally {
  /** Name of the map that holds the counts. */
  readonly map: string;
  uncounted(): Uncounted;
  notShown?(): NotShown;
  /**
   * Removes the rows of dead namespaces to free space for new ones. Returns the number of rows of each other
   * namespace.
   */
  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number>;
  /** Clears the sums of a slot whose owner is gone, before the slot gets another owner. */
  freed(slot: number): void;
  /** Stores the counts for the next run. Must be called once, after the programs were detached. */
  remember(): void;
}

/** Returns the number of occurrences that the object could not count, for every cause. */
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
 * Returns the key of the row for the counts of a slot without free rows. The key takes the place of a namespace cookie
 * (src/bpf/common/room.bpf.h).
 */
export function restOf(slot: number): NetnsId {
  return asNetnsId(REST | BigInt(slot));
}

/** Returns the slot of a key made by `restOf`; undefined for a namespace. */
export function slotOfRest(id: NetnsId): number | undefined {
  return typeof id === 'bigint' && id >= REST ? Number(id - REST) : undefined;
}

/** Returns whether any counts were added to a slot's sums because it had no free rows. */
export function hasRest(object: BpfObject): boolean {
  return sumPerCpu(object, MISSES, misses).addedUp !== 0;
}

/**
 * Deletes the entries of dead namespaces. Returns the number of entries left for each remaining namespace.
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

/** Returns the u64 fields of a per-CPU array's only entry, summed over the CPUs. */
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
