// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'qdisc.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: never;
  readonly setting: never;
  readonly map: 'qdisc_rows';
  readonly program: 'qdisc_find';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  qdisc_rows: 1024,
} as const;

/** struct qdisc_row */
export const qdiscRow = {
  SIZE: 16,
  offsets: { cookie: 0, flags: 8, hasQueue: 12 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  hasQueue: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;
