// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'softirq.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'vectors' | 'node_netns';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'softirq_clocks' | 'softirq_histograms';
  readonly program: 'softirq_raise' | 'softirq_entry' | 'softirq_exit';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  softirq_clocks: 1,
  softirq_histograms: 20,
} as const;

/** enum softirq_kind */
export const softirqKind = {
  wait: 0,
  run: 1,
} as const;

/** enum softirq_vector */
export const softirqVector = {
  hi: 0,
  timer: 1,
  net_tx: 2,
  net_rx: 3,
  block: 4,
  irq_poll: 5,
  tasklet: 6,
  sched: 7,
  hrtimer: 8,
  rcu: 9,
} as const;

/** struct softirq_clock */
export const softirqClock = {
  SIZE: 88,
  offsets: { raised: 0, entered: 80 },
  raised: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  raisedCount: 10,
  entered: (view: DataView, at: number) => readCounter(view, at + 80),
} as const;

/** struct softirq_event */
export const softirqEvent = {
  SIZE: 48,
  offsets: { time: 0, delay: 8, vector: 16, kind: 20, cpu: 24, pid: 28, task: 32 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  delay: (view: DataView, at: number) => readCounter(view, at + 8),
  vector: (view: DataView, at: number) => view.getUint32(at + 16, true),
  kind: (view: DataView, at: number) => view.getUint32(at + 20, true),
  cpu: (view: DataView, at: number) => view.getUint32(at + 24, true),
  pid: (view: DataView, at: number) => view.getUint32(at + 28, true),
  task: (view: DataView, at: number) => readString(view, at + 32, 16),
} as const;
