// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'netns.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'owner_scratch' | 'owner_current' | 'netns_rows' | 'task_rows';
  readonly program: 'netns_list' | 'task_list';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  netns_rows: 1024,
  task_rows: 128,
} as const;

/** struct netns_row */
export const netnsRow = {
  SIZE: 16,
  offsets: { cookie: 0, inum: 8, flags: 12 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  inum: (view: DataView, at: number) => view.getUint32(at + 8, true),
  flags: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct task_row */
export const taskRow = {
  SIZE: 816,
  offsets: { cookie: 0, start: 8, tgid: 16, pid: 20, inum: 24, comm: 28, owner: 44 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  start: (view: DataView, at: number) => readCounter(view, at + 8),
  tgid: (view: DataView, at: number) => view.getUint32(at + 16, true),
  pid: (view: DataView, at: number) => view.getUint32(at + 20, true),
  inum: (view: DataView, at: number) => view.getUint32(at + 24, true),
  comm: (view: DataView, at: number) => readString(view, at + 28, 16),
} as const;
