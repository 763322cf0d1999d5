// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'sock.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = never;

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
