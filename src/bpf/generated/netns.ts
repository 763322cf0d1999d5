// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';

export const FILE = 'netns.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = never;

/** struct netns_row */
export const netnsRow = {
  SIZE: 16,
  offsets: { cookie: 0, inum: 8, flags: 12 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  inum: (view: DataView, at: number) => view.getUint32(at + 8, true),
  flags: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;
