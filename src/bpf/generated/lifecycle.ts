// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'lifecycle.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'pid_namespace' | 'node_netns' | 'possible_cpus' | 'deaths_max';
  readonly setting: never;
  readonly map: 'mib_scratch' | 'mib_rows' | 'percpu_cpus' | 'percpu_anchor' | 'misses' | 'owner_scratch' | 'owner_current' | 'owners' | 'records' | 'owned' | 'births' | 'cleanup';
  readonly program: 'process_executes' | 'work_queued' | 'work_starts';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  records: 524288,
  owned: 2048,
  births: 1024,
  cleanup: 1,
} as const;

/** enum life_kind */
export const lifeKind = {
  birth: 0,
  death: 1,
} as const;

/** struct birth_share */
export const birthShare = {
  SIZE: 16,
  offsets: { begun: 0, told: 8 },
  begun: (view: DataView, at: number) => readCounter(view, at + 0),
  told: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct cleanup_state */
export const cleanupState = {
  SIZE: 24,
  offsets: { function: 0, steps: 8, copies: 12, unlisted: 16 },
  function: (view: DataView, at: number) => readCounter(view, at + 0),
  steps: (view: DataView, at: number) => view.getUint32(at + 8, true),
  copies: (view: DataView, at: number) => view.getUint32(at + 12, true),
  unlisted: (view: DataView, at: number) => view.getUint32(at + 16, true),
} as const;

/** struct life_birth */
export const lifeBirth = {
  SIZE: 800,
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

/** struct told_owner */
export const toldOwner = {
  SIZE: 16,
  offsets: { owner: 0, first: 8 },
  owner: (view: DataView, at: number) => readCounter(view, at + 0),
  first: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;
