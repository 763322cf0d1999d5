// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'kernellatency.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'preempt_count_at';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'filtered_netns' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'packet_slots' | 'packet_deliveries' | 'kernel_histograms';
  readonly program: 'packet_dropped' | 'device_received' | 'socket_ready' | 'device_queued' | 'packet_queued' | 'device_sent' | 'received_v4_exit' | 'received_v6_exit' | 'received_v4_return' | 'received_v6_return' | 'input_v4_entry' | 'input_v4_probe' | 'input_v6_entry' | 'input_v6_probe' | 'transport_v4_entry' | 'transport_v4_probe' | 'transport_v6_entry' | 'transport_v6_probe' | 'transport_v4_exit' | 'transport_v6_exit' | 'transport_v4_return' | 'transport_v6_return' | 'sent_v4_entry' | 'sent_v6_entry' | 'sent_tcp_v6_entry' | 'sent_v4_probe' | 'sent_v6_probe' | 'sent_tcp_v6_probe' | 'output_v4_entry' | 'output_v4_probe' | 'output_v6_entry' | 'output_v6_probe' | 'postrouting_v4_entry' | 'postrouting_v4_probe' | 'postrouting_v6_entry' | 'postrouting_v6_probe';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  packet_slots: 8192,
  packet_deliveries: 1,
  kernel_histograms: 1024,
} as const;

/** enum packet_way */
export const packetWay = {
  receive: 0,
  send: 1,
  delivery: 2,
  device: 3,
} as const;

/** struct kernel_event */
export const kernelEvent = {
  SIZE: 88,
  offsets: { time: 0, netns: 8, stages: 16, way: 40, length: 44, tuple: 48 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  stages: (view: DataView, at: number, index: number) => readCounter(view, at + 16 + index * 8),
  stagesCount: 3,
  way: (view: DataView, at: number) => view.getUint32(at + 40, true),
  length: (view: DataView, at: number) => view.getUint32(at + 44, true),
} as const;

/** struct kernel_histograms */
export const kernelHistograms = {
  SIZE: 1728,
  offsets: { prerouting: 0, input: 216, transport: 432, output: 648, postrouting: 864, neighbour: 1080, delivery: 1296, device: 1512 },
} as const;

/** struct packet_delivery */
export const packetDelivery = {
  SIZE: 112,
  offsets: { packet: 0, netns: 8, begun: 16, passed: 24, length: 40, headerEthertype: 44, headerBytes: 46 },
  packet: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  begun: (view: DataView, at: number) => readCounter(view, at + 16),
  passed: (view: DataView, at: number, index: number) => readCounter(view, at + 24 + index * 8),
  passedCount: 2,
  length: (view: DataView, at: number) => view.getUint32(at + 40, true),
  headerEthertype: (view: DataView, at: number) => view.getUint16(at + 44, true),
  headerBytes: (view: DataView, at: number) => readBytes(view, at + 46, 64),
} as const;

/** struct packet_slot */
export const packetSlot = {
  SIZE: 128,
  offsets: { packet: 0, netns: 8, owner: 16, begun: 24, passed: 32, way: 48, length: 52, headerEthertype: 56, headerBytes: 58 },
  packet: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  owner: (view: DataView, at: number) => readCounter(view, at + 16),
  begun: (view: DataView, at: number) => readCounter(view, at + 24),
  passed: (view: DataView, at: number, index: number) => readCounter(view, at + 32 + index * 8),
  passedCount: 2,
  way: (view: DataView, at: number) => view.getUint32(at + 48, true),
  length: (view: DataView, at: number) => view.getUint32(at + 52, true),
  headerEthertype: (view: DataView, at: number) => view.getUint16(at + 56, true),
  headerBytes: (view: DataView, at: number) => readBytes(view, at + 58, 64),
} as const;
