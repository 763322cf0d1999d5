// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcpreset.bpf.o';

/** Names in the object; the constants are its `const volatile` variables. */
export interface Layout {
  readonly constant: 'aimed' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'preempt_count_at';
  readonly map: 'aimed_netns' | 'misses' | 'counts' | 'event_ledgers' | 'event_buckets' | 'events';
  readonly program: 'tcp_reset_sent_reason' | 'tcp_reset_sent' | 'tcp_reset_received' | 'tcp_reset_v4_entry' | 'tcp_reset_v6_entry' | 'tcp_reset_active_entry' | 'tcp_reset_v4_probe' | 'tcp_reset_v6_probe' | 'tcp_reset_active_probe' | 'tcp_reset_received_entry' | 'tcp_reset_received_probe';
}

/** enum reset_reason */
export const resetReason = {
  no_listener: 65536,
  queue_full: 65537,
  time_wait: 65538,
  after_close: 65539,
  invalid_segment: 65540,
  linger: 65541,
  not_accepted: 65542,
  unread_data: 65543,
  keepalive: 65544,
  abort: 65545,
  refused: 65546,
  broken_pipe: 65547,
  by_peer: 65548,
} as const;

/** enum reset_side */
export const resetSide = {
  sent: 0,
  received: 1,
} as const;

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
