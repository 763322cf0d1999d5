// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'packetloss.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'aimed' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'preempt_count_at' | 'no_loss' | 'no_loss_functions' | 'with_stack';

/** struct packet_drop_event */
export const packetDropEvent = {
  SIZE: 192,
  offsets: { time: 0, netns: 8, reason: 16, length: 20, tuple: 24, process: 64, device: 96, symbol: 112 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  reason: (view: DataView, at: number) => view.getUint32(at + 16, true),
  length: (view: DataView, at: number) => view.getUint32(at + 20, true),
  device: (view: DataView, at: number) => readString(view, at + 96, 16),
  symbol: (view: DataView, at: number) => readString(view, at + 112, 80),
} as const;

/** struct packet_drop_stack_event */
export const packetDropStackEvent = {
  SIZE: 1480,
  offsets: { drop: 0, frames: 192, symbols: 200 },
  frames: (view: DataView, at: number) => readCounter(view, at + 192),
  symbols: (view: DataView, at: number, index: number) => readString(view, at + 200 + index * 80, 80),
  symbolsCount: 16,
} as const;
