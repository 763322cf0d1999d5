import type { BpfObject } from '../../lib/index.ts';
import { u32 } from './objects.ts';

/** `enum count` of packets.bpf.c. */
const COUNTS = ['egress', 'ingress', 'notPlugged', 'parsed'] as const;

/** Returns all counts of the map `counts`. */
export function countsOf(object: BpfObject): Record<(typeof COUNTS)[number], number> {
  const value = new BigUint64Array(1);
  const read = (index: number) => {
    object.map('counts').lookup(u32(index), new Uint8Array(value.buffer));
    return Number(value[0]);
  };
  return { egress: read(0), ingress: read(1), notPlugged: read(2), parsed: read(3) };
}

/** Returns a frame of the given length, filled with one value. */
export function frame(bytes: number, value = 1): Uint8Array {
  return new Uint8Array(bytes).fill(value);
}
