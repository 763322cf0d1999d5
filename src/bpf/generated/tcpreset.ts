// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcpreset.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'aimed' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'preempt_count_at';

/** struct tcp_reset_event */
export const tcpResetEvent = {
  SIZE: 96,
  offsets: { time: 0, netns: 8, reason: 16, side: 20, state: 21, tuple: 22, process: 64 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  reason: (view: DataView, at: number) => view.getUint32(at + 16, true),
  side: (view: DataView, at: number) => view.getUint8(at + 20),
  state: (view: DataView, at: number) => view.getUint8(at + 21),
} as const;
