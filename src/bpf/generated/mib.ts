// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';

export const FILE = 'mib.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = never;

/** struct mib_row */
export const mibRow = {
  SIZE: 1808,
  offsets: { cookie: 0, flags: 8, tables: 12, values: 16 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  tables: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct mib_values */
export const mibValues = {
  SIZE: 1792,
  offsets: { tcp: 0, tcpext: 192, udp: 1536, udp6: 1664 },
  tcp: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  tcpCount: 24,
  tcpext: (view: DataView, at: number, index: number) => readCounter(view, at + 192 + index * 8),
  tcpextCount: 168,
  udp: (view: DataView, at: number, index: number) => readCounter(view, at + 1536 + index * 8),
  udpCount: 16,
  udp6: (view: DataView, at: number, index: number) => readCounter(view, at + 1664 + index * 8),
  udp6Count: 16,
} as const;
