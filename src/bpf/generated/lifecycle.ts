// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'lifecycle.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'pid_namespace' | 'node_netns' | 'possible_cpus' | 'deaths_max';

/** struct cleanup_state */
export const cleanupState = {
  SIZE: 16,
  offsets: { function: 0, steps: 8, copies: 12 },
  function: (view: DataView, at: number) => readCounter(view, at + 0),
  steps: (view: DataView, at: number) => view.getUint32(at + 8, true),
  copies: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct life_birth */
export const lifeBirth = {
  SIZE: 544,
  offsets: { kind: 0, inum: 4, netns: 8, start: 16, pid: 24, owner: 28 },
  kind: (view: DataView, at: number) => view.getUint32(at + 0, true),
  inum: (view: DataView, at: number) => view.getUint32(at + 4, true),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  start: (view: DataView, at: number) => readCounter(view, at + 16),
  pid: (view: DataView, at: number) => view.getUint32(at + 24, true),
} as const;

/** struct life_death */
export const lifeDeath = {
  SIZE: 3960,
  offsets: { kind: 0, time: 8, boot: 16, row: 24 },
  kind: (view: DataView, at: number) => view.getUint32(at + 0, true),
  time: (view: DataView, at: number) => readCounter(view, at + 8),
  boot: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;
