// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcp_ends.bpf.o';

/** Names in the object; the constants are its `const volatile` variables. */
export interface Layout {
  readonly constant: 'owner_rows' | 'unlisted_rows' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'ring_share' | 'node_netns' | 'delay';
  readonly map: 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events' | 'flow_rows' | 'flow_rest' | 'flow_rest_used' | 'flow_taken' | 'flow_allowed' | 'tcp_ends_wanted' | 'end_ledgers' | 'connect_times' | 'slow_connects';
  readonly program: 'tcp_end' | 'tcp_end_again' | 'tcp_end_third' | 'tcp_end_retransmit';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  tcp_ends_wanted: 1,
  end_ledgers: 3,
  connect_times: 1024,
  slow_connects: 4096,
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
  SIZE: 168,
  offsets: { time: 0, netns: 8, cgroup: 16, counts: 24, tuple: 112, connect: 152, roundTrip: 156, roundTripMin: 160, role: 164, state: 165, end: 166, consumers: 167 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 16),
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 24 + index * 8),
  countsCount: 11,
  connect: (view: DataView, at: number) => view.getUint32(at + 152, true),
  roundTrip: (view: DataView, at: number) => view.getUint32(at + 156, true),
  roundTripMin: (view: DataView, at: number) => view.getUint32(at + 160, true),
  role: (view: DataView, at: number) => view.getUint8(at + 164),
  state: (view: DataView, at: number) => view.getUint8(at + 165),
  end: (view: DataView, at: number) => view.getUint8(at + 166),
  consumers: (view: DataView, at: number) => view.getUint8(at + 167),
} as const;

/** struct tcp_ends_wanted */
export const tcpEndsWanted = {
  SIZE: 52,
  offsets: { rows: 0, listens: 4, connects: 8, roundTrips: 12, failures: 16, degraded: 20, failedRecords: 24, allRecords: 28, rate: 32, retransmittedPermille: 36, receiverLimitedPermille: 40, roundTrip: 44, segmentsMin: 48 },
  rows: (view: DataView, at: number) => view.getUint32(at + 0, true),
  listens: (view: DataView, at: number) => view.getUint32(at + 4, true),
  connects: (view: DataView, at: number) => view.getUint32(at + 8, true),
  roundTrips: (view: DataView, at: number) => view.getUint32(at + 12, true),
  failures: (view: DataView, at: number) => view.getUint32(at + 16, true),
  degraded: (view: DataView, at: number) => view.getUint32(at + 20, true),
  failedRecords: (view: DataView, at: number) => view.getUint32(at + 24, true),
  allRecords: (view: DataView, at: number) => view.getUint32(at + 28, true),
  rate: (view: DataView, at: number) => view.getUint32(at + 32, true),
  retransmittedPermille: (view: DataView, at: number) => view.getUint32(at + 36, true),
  receiverLimitedPermille: (view: DataView, at: number) => view.getUint32(at + 40, true),
  roundTrip: (view: DataView, at: number) => view.getUint32(at + 44, true),
  segmentsMin: (view: DataView, at: number) => view.getUint32(at + 48, true),
} as const;
