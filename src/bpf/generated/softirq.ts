// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'softirq.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'vectors' | 'threshold' | 'node_netns';

/** struct event_bucket */
export const eventBucket = {
  SIZE: 16,
  offsets: { refilled: 0, tokens: 8 },
  refilled: (view: DataView, at: number) => readCounter(view, at + 0),
  tokens: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct event_ledger */
export const eventLedger = {
  SIZE: 24,
  offsets: { produced: 0, limited: 8, lost: 16 },
  produced: (view: DataView, at: number) => readCounter(view, at + 0),
  limited: (view: DataView, at: number) => readCounter(view, at + 8),
  lost: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct histogram */
export const histogram = {
  SIZE: 216,
  offsets: { sum: 0, counts: 8 },
  sum: (view: DataView, at: number) => readCounter(view, at + 0),
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 8 + index * 8),
  countsCount: 26,
} as const;

/** struct histogram_misses */
export const histogramMisses = {
  SIZE: 24,
  offsets: { mapFull: 0, untracked: 8, noNetns: 16 },
  mapFull: (view: DataView, at: number) => readCounter(view, at + 0),
  untracked: (view: DataView, at: number) => readCounter(view, at + 8),
  noNetns: (view: DataView, at: number) => readCounter(view, at + 16),
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
