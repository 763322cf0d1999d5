// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'conntrack.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'percpu_cpus' | 'percpu_anchor' | 'conntrack_rows';
  readonly program: 'conntrack_read';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  conntrack_rows: 256,
} as const;

/** struct conntrack_row */
export const conntrackRow = {
  SIZE: 104,
  offsets: { cookie: 0, flags: 8, complete: 12, entries: 16, found: 24, invalid: 32, insert: 40, insertFailed: 48, drop: 56, earlyDrop: 64, error: 72, searchRestart: 80, clashResolve: 88, chainTooLong: 96 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  complete: (view: DataView, at: number) => view.getUint32(at + 12, true),
  entries: (view: DataView, at: number) => readCounter(view, at + 16),
  found: (view: DataView, at: number) => readCounter(view, at + 24),
  invalid: (view: DataView, at: number) => readCounter(view, at + 32),
  insert: (view: DataView, at: number) => readCounter(view, at + 40),
  insertFailed: (view: DataView, at: number) => readCounter(view, at + 48),
  drop: (view: DataView, at: number) => readCounter(view, at + 56),
  earlyDrop: (view: DataView, at: number) => readCounter(view, at + 64),
  error: (view: DataView, at: number) => readCounter(view, at + 72),
  searchRestart: (view: DataView, at: number) => readCounter(view, at + 80),
  clashResolve: (view: DataView, at: number) => readCounter(view, at + 88),
  chainTooLong: (view: DataView, at: number) => readCounter(view, at + 96),
} as const;
