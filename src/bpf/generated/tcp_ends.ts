// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcp_ends.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'owner_rows' | 'unlisted_rows' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'node_netns' | 'delay';
  readonly setting: 'event_rate';
  readonly map: 'end_ledgers' | 'end_buckets' | 'flow_rows' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events' | 'flow_log' | 'flow_log_head' | 'flow_log_tail' | 'flow_rest' | 'flow_rest_used' | 'flow_taken' | 'flow_allowed' | 'flow_log_shares' | 'connect_times' | 'slow_connects' | 'tcp_ends_wanted' | 'connection_starts';
  readonly program: 'tcp_end' | 'tcp_end_again' | 'tcp_end_third' | 'tcp_end_retransmit' | 'flow_watch';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  end_ledgers: 3,
  end_buckets: 3078,
  connect_times: 1024,
  slow_connects: 4096,
  tcp_ends_wanted: 1,
} as const;

/** enum end_consumer */
export const endConsumer = {
  failure: 1,
  degraded: 2,
  record: 4,
} as const;

/** struct connect_times */
export const connectTimes = {
  SIZE: 432,
  offsets: { client: 0, server: 216 },
} as const;

/** struct slow_connect */
export const slowConnect = {
  SIZE: 16,
  offsets: { sk: 0, start: 8 },
  sk: (view: DataView, at: number) => readCounter(view, at + 0),
  start: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct tcp_end_event */
export const tcpEndEvent = {
  SIZE: 176,
  offsets: { time: 0, started: 8, netns: 16, cgroup: 24, counts: 32, tuple: 120, connect: 160, roundTrip: 164, roundTripMin: 168, role: 172, state: 173, end: 174, consumers: 175 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  started: (view: DataView, at: number) => readCounter(view, at + 8),
  netns: (view: DataView, at: number) => readCounter(view, at + 16),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 24),
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 32 + index * 8),
  countsCount: 11,
  connect: (view: DataView, at: number) => view.getUint32(at + 160, true),
  roundTrip: (view: DataView, at: number) => view.getUint32(at + 164, true),
  roundTripMin: (view: DataView, at: number) => view.getUint32(at + 168, true),
  role: (view: DataView, at: number) => view.getUint8(at + 172),
  state: (view: DataView, at: number) => view.getUint8(at + 173),
  end: (view: DataView, at: number) => view.getUint8(at + 174),
  consumers: (view: DataView, at: number) => view.getUint8(at + 175),
} as const;

/** struct tcp_ends_wanted */
export const tcpEndsWanted = {
  SIZE: 64,
  offsets: { rows: 0, listens: 4, connects: 8, roundTrips: 12, failures: 16, degraded: 20, failedRecords: 24, allRecords: 28, starts: 32, failureRate: 36, degradedRate: 40, recordRate: 44, retransmittedPermille: 48, receiverLimitedPermille: 52, roundTrip: 56, segmentsMin: 60 },
  rows: (view: DataView, at: number) => view.getUint32(at + 0, true),
  listens: (view: DataView, at: number) => view.getUint32(at + 4, true),
  connects: (view: DataView, at: number) => view.getUint32(at + 8, true),
  roundTrips: (view: DataView, at: number) => view.getUint32(at + 12, true),
  failures: (view: DataView, at: number) => view.getUint32(at + 16, true),
  degraded: (view: DataView, at: number) => view.getUint32(at + 20, true),
  failedRecords: (view: DataView, at: number) => view.getUint32(at + 24, true),
  allRecords: (view: DataView, at: number) => view.getUint32(at + 28, true),
  starts: (view: DataView, at: number) => view.getUint32(at + 32, true),
  failureRate: (view: DataView, at: number) => view.getUint32(at + 36, true),
  degradedRate: (view: DataView, at: number) => view.getUint32(at + 40, true),
  recordRate: (view: DataView, at: number) => view.getUint32(at + 44, true),
  retransmittedPermille: (view: DataView, at: number) => view.getUint32(at + 48, true),
  receiverLimitedPermille: (view: DataView, at: number) => view.getUint32(at + 52, true),
  roundTrip: (view: DataView, at: number) => view.getUint32(at + 56, true),
  segmentsMin: (view: DataView, at: number) => view.getUint32(at + 60, true),
} as const;
