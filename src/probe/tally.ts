import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, misses } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NotShown, Uncounted } from './contract.ts';

/** What src/bpf/common/misses.bpf.h puts into an object. */
const MISSES: CommonLayout['map'] = 'misses';

/** What the object of a BPF probe has counted, which goes on from run to run. */
export interface Tally {
  /** The map that it reads. */
  readonly map: string;
  uncounted(): Uncounted;
  notShown?(): NotShown;
  /** Namespaces that are dead make room for new ones. Returns how many rows each of the others has. */
  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number>;
  /** The owner of the slot is gone: what is added up there is the next one's. */
  freed(slot: number): void;
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

const REST = 1n << 63n;

/** Key of the row for what a slot has no room to tell apart, in place of a cookie: src/bpf/common/room.bpf.h. */
export function restOf(slot: number): NetnsId {
  return asNetnsId(REST | BigInt(slot));
}

/** The slot of such a row; undefined of a namespace. */
export function slotOfRest(id: NetnsId): number | undefined {
  return typeof id === 'bigint' && id >= REST ? Number(id - REST) : undefined;
}

/** Whether something is counted with the rest of its owner. */
export function hasRest(object: BpfObject): boolean {
  return sumPerCpu(object, MISSES, misses).addedUp !== 0;
}

/**
 * Deletes the entries of dead namespaces. Returns how many each of the others has.
 * @param gone is called for each that is deleted
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
