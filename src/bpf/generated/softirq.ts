// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'softirq.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'vectors' | 'threshold' | 'node_netns';

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
