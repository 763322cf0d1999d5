// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcpreset.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'owner_rows' | 'unlisted_rows' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'preempt_count_at';
  readonly setting: 'event_rate';
  readonly map: 'filtered_netns' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events';
  readonly program: 'tcp_reset_sent_reason' | 'tcp_reset_sent' | 'tcp_reset_received' | 'tcp_reset_v4_entry' | 'tcp_reset_v6_entry' | 'tcp_reset_active_entry' | 'tcp_reset_v4_probe' | 'tcp_reset_v6_probe' | 'tcp_reset_active_probe' | 'tcp_reset_received_entry' | 'tcp_reset_received_probe';
}

/** enum reset_outcome */
export const resetOutcome = {
  orderly: 0,
  cut_off: 1,
} as const;

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

/** struct reset_scene */
export const resetScene = {
  SIZE: 16,
  offsets: { unacknowledged: 0, unread: 4, refused: 8, answersSyn: 12, neverAccepted: 13, outcome: 14 },
  unacknowledged: (view: DataView, at: number) => view.getUint32(at + 0, true),
  unread: (view: DataView, at: number) => view.getUint32(at + 4, true),
  refused: (view: DataView, at: number) => view.getUint32(at + 8, true),
  answersSyn: (view: DataView, at: number) => view.getUint8(at + 12),
  neverAccepted: (view: DataView, at: number) => view.getUint8(at + 13),
  outcome: (view: DataView, at: number) => view.getUint8(at + 14),
} as const;

/** struct tcp_reset_event */
export const tcpResetEvent = {
  SIZE: 112,
  offsets: { time: 0, netns: 8, reason: 16, side: 20, state: 21, scene: 24, tuple: 40, process: 80 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  reason: (view: DataView, at: number) => view.getUint32(at + 16, true),
  side: (view: DataView, at: number) => view.getUint8(at + 20),
  state: (view: DataView, at: number) => view.getUint8(at + 21),
} as const;
