// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'sock.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'sock_places' | 'percpu_cpus' | 'percpu_anchor' | 'sock_rows';
  readonly program: 'sock_protocols' | 'sock_read';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  sock_places: 6,
  sock_rows: 256,
} as const;

/** enum sock_fragments */
export const sockFragments = {
  ipv4: 0,
  ipv6: 1,
} as const;

/** enum sock_place */
export const sockPlace = {
  none: 4294967295,
} as const;

/** enum sock_protocol */
export const sockProtocol = {
  tcp: 0,
  udp: 1,
  raw: 2,
  tcp6: 3,
  udp6: 4,
  raw6: 5,
} as const;

/** struct sock_row */
export const sockRow = {
  SIZE: 112,
  offsets: { cookie: 0, flags: 8, complete: 12, timeWait: 16, fragmentQueues: 24, fragmentBytes: 40, sumsUsed: 56, sumsInUse: 64 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  complete: (view: DataView, at: number) => view.getUint32(at + 12, true),
  timeWait: (view: DataView, at: number) => readCounter(view, at + 16),
  fragmentQueues: (view: DataView, at: number, index: number) => readCounter(view, at + 24 + index * 8),
  fragmentQueuesCount: 2,
  fragmentBytes: (view: DataView, at: number, index: number) => readCounter(view, at + 40 + index * 8),
  fragmentBytesCount: 2,
  sumsUsed: (view: DataView, at: number) => readCounter(view, at + 56),
  sumsInUse: (view: DataView, at: number, index: number) => readCounter(view, at + 64 + index * 8),
  sumsInUseCount: 6,
} as const;
