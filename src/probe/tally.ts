import type { BpfObject } from 'bpf-napi';
import { misses } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Uncounted } from './contract.ts';

/** What src/bpf/common/misses.bpf.h puts into an object. */
const MISSES = 'misses';

const U64_BYTES = 8;

/** What the object of a BPF probe has counted, which goes on from run to run. */
export interface Tally {
  uncounted(): Uncounted;
  /** Namespaces that are dead make room for new ones. */
  sweep(isDead: (id: NetnsId) => boolean): void;
  /** Keeps what was counted so far for the next run. Once, when nothing counts any more. */
  remember(): void;
}

/** What the object has missed, by all causes that there are. */
export function readMisses(object: BpfObject, earlier: Uncounted): Required<Uncounted> {
  const [mapFull = 0, untracked = 0, noNetns = 0] = sumPerCpu(object, MISSES, misses.SIZE / U64_BYTES);
  return {
    map_full: addCounters(mapFull, earlier.map_full ?? 0),
    untracked: addCounters(untracked, earlier.untracked ?? 0),
    no_netns: addCounters(noNetns, earlier.no_netns ?? 0),
  };
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
