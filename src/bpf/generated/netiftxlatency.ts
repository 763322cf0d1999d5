// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

export const FILE = 'netiftxlatency.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'address_cells' | 'filtered_netns' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'queued_packets' | 'transmits' | 'transmit_depths' | 'transmit_histograms';
  readonly program: 'packet_queued' | 'transmit_started' | 'packet_dropped' | 'transmit_done';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  address_cells: 8,
  queued_packets: 16384,
  transmits: 8,
  transmit_depths: 1,
  transmit_histograms: 1024,
} as const;

/** enum transmit_kind */
export const transmitKind = {
  qdisc: 0,
  driver: 1,
} as const;

/** struct queued_packet */
export const queuedPacket = {
  SIZE: 24,
  offsets: { packet: 0, time: 8, length: 16 },
  packet: (view: DataView, at: number) => readCounter(view, at + 0),
  time: (view: DataView, at: number) => readCounter(view, at + 8),
  length: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct transmit */
export const transmit = {
  SIZE: 104,
  offsets: { packet: 0, device: 8, queued: 16, started: 24, length: 32, headerEthertype: 36, headerBytes: 38 },
  packet: (view: DataView, at: number) => readCounter(view, at + 0),
  device: (view: DataView, at: number) => readCounter(view, at + 8),
  queued: (view: DataView, at: number) => readCounter(view, at + 16),
  started: (view: DataView, at: number) => readCounter(view, at + 24),
  length: (view: DataView, at: number) => view.getUint32(at + 32, true),
  headerEthertype: (view: DataView, at: number) => view.getUint16(at + 36, true),
  headerBytes: (view: DataView, at: number) => readBytes(view, at + 38, 64),
} as const;

/** struct transmit_event */
export const transmitEvent = {
  SIZE: 104,
  offsets: { time: 0, netns: 8, delay: 16, kind: 24, length: 28, tuple: 32, device: 72, qdisc: 88 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  delay: (view: DataView, at: number) => readCounter(view, at + 16),
  kind: (view: DataView, at: number) => view.getUint32(at + 24, true),
  length: (view: DataView, at: number) => view.getUint32(at + 28, true),
  device: (view: DataView, at: number) => readString(view, at + 72, 16),
  qdisc: (view: DataView, at: number) => readString(view, at + 88, 16),
} as const;

/** struct transmit_histograms */
export const transmitHistograms = {
  SIZE: 432,
  offsets: { qdisc: 0, driver: 216 },
} as const;
