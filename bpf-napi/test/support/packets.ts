import type { BpfObject } from '../../lib/index.ts';
import { u32 } from './objects.ts';

/** `enum count` of packets.bpf.c. */
const COUNTS = ['egress', 'ingress', 'notPlugged', 'parsed'] as const;

/** All counts of the map `counts`. */
export function countsOf(object: BpfObject): Record<(typeof COUNTS)[number], number> {
  const value = new BigUint64Array(1);
  const read = (index: number) => {
    object.map('counts').lookup(u32(index), new Uint8Array(value.buffer));
    return Number(value[0]);
  };
  return { egress: read(0), ingress: read(1), notPlugged: read(2), parsed: read(3) };
}

/** A frame of so many bytes, all of one value. */
export function frame(bytes: number, value = 1): Uint8Array {
  return new Uint8Array(bytes).fill(value);
}
