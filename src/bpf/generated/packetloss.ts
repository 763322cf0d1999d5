// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'packetloss.bpf.o';

/** Names in the object; the constants are its `const volatile` variables. */
export interface Layout {
  readonly constant: 'filters_pods' | 'owner_rows' | 'unlisted_rows' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'ring_share' | 'timer_bases_at' | 'preempt_count_at' | 'not_specified' | 'has_reasons' | 'rules' | 'subsystem_rules' | 'waits_for_udp' | 'receive_buffer' | 'protocol_memory' | 'node_netns' | 'with_stack';
  readonly map: 'filtered_netns' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events' | 'waiting_drops';
  readonly program: 'packet_drop_udp' | 'packet_drop_socket' | 'packet_drop_reason' | 'packet_drop';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  waiting_drops: 1,
} as const;

/** enum discard_class */
export const discardClass = {
  answered_by_reset: 0,
  control: 1,
  duplicate: 2,
  no_listener_multicast: 3,
  not_for_us: 4,
  before_forwarding: 5,
  unhandled_protocol: 6,
  purged: 7,
  configured: 8,
  unclassified: 9,
} as const;

/** enum drop_limit */
export const dropLimit = {
  reasons: 256,
  subsystems: 8,
} as const;

/** enum drop_rest */
export const dropRest = {
  lost: 0,
  discarded: 1,
} as const;

/** enum drop_side */
export const dropSide = {
  lost: 0,
  discarded: 1,
} as const;

/** enum loss_rule */
export const lossRule = {
  unknown: 0,
  loss: 1,
  no_reason: 2,
  request: 3,
  unicast: 4,
  window: 5,
  bridge: 6,
  old: 7,
  queue: 8,
  qdisc: 9,
  class: 10,
} as const;

/** struct packet_drop_event */
export const packetDropEvent = {
  SIZE: 200,
  offsets: { time: 0, netns: 8, location: 16, reason: 24, length: 28, tuple: 32, process: 72, device: 104, symbol: 120 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  location: (view: DataView, at: number) => readCounter(view, at + 16),
  reason: (view: DataView, at: number) => view.getUint32(at + 24, true),
  length: (view: DataView, at: number) => view.getUint32(at + 28, true),
  device: (view: DataView, at: number) => readString(view, at + 104, 16),
  symbol: (view: DataView, at: number) => readString(view, at + 120, 80),
} as const;

/** struct packet_drop_stack_event */
export const packetDropStackEvent = {
  SIZE: 1616,
  offsets: { drop: 0, frames: 200, addresses: 208, symbols: 336 },
  frames: (view: DataView, at: number) => readCounter(view, at + 200),
  addresses: (view: DataView, at: number, index: number) => readCounter(view, at + 208 + index * 8),
  addressesCount: 16,
  symbols: (view: DataView, at: number, index: number) => readString(view, at + 336 + index * 80, 80),
  symbolsCount: 16,
} as const;

/** struct waiting_drop */
export const waitingDrop = {
  SIZE: 224,
  offsets: { isWaiting: 0, key: 8, event: 24 },
  isWaiting: (view: DataView, at: number) => readCounter(view, at + 0),
} as const;
