// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

/** Names that several objects share. */
export interface CommonLayout {
  readonly constant: 'event_rate' | 'events_enabled' | 'filters_pods' | 'jiffies_per_second' | 'node_netns' | 'owner_rows' | 'preempt_count_at' | 'ring_share' | 'threshold' | 'unlisted_rows';
  readonly map: 'count_rest' | 'counts' | 'event_buckets' | 'event_ledgers' | 'events' | 'filtered_netns' | 'flow_allowed' | 'flow_rest' | 'flow_rest_used' | 'flow_rows' | 'flow_taken' | 'mib_rows' | 'mib_scratch' | 'misses' | 'owner_current' | 'owner_scratch' | 'owners' | 'percpu_anchor' | 'percpu_cpus' | 'rows_returned' | 'rows_taken';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  count_rest: 16416,
  counts: 20480,
  event_buckets: 1026,
  event_ledgers: 1,
  events: 1048576,
  filtered_netns: 256,
  flow_allowed: 1026,
  flow_rest: 3078,
  flow_rest_used: 1,
  flow_rows: 4096,
  flow_taken: 1026,
  mib_rows: 256,
  mib_scratch: 1,
  misses: 1,
  owner_current: 1,
  owner_scratch: 1,
  owners: 2048,
  percpu_anchor: 1,
  percpu_cpus: 1,
  rows_returned: 1026,
  rows_taken: 1026,
} as const;

/** struct count_key */
export const countKey = {
  SIZE: 16,
  offsets: { netns: 0, reason: 8, side: 12 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  reason: (view: DataView, at: number) => view.getUint32(at + 8, true),
  side: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct count_value */
export const countValue = {
  SIZE: 16,
  offsets: { count: 0, bytes: 8 },
  count: (view: DataView, at: number) => readCounter(view, at + 0),
  bytes: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct event_bucket */
export const eventBucket = {
  SIZE: 32,
  offsets: { refilled: 0, tokens: 8, position: 16, bytes: 24 },
  refilled: (view: DataView, at: number) => readCounter(view, at + 0),
  tokens: (view: DataView, at: number) => readCounter(view, at + 8),
  position: (view: DataView, at: number) => readCounter(view, at + 16),
  bytes: (view: DataView, at: number) => readCounter(view, at + 24),
} as const;

/** struct event_ledger */
export const eventLedger = {
  SIZE: 24,
  offsets: { produced: 0, limited: 8, lost: 16 },
  produced: (view: DataView, at: number) => readCounter(view, at + 0),
  limited: (view: DataView, at: number) => readCounter(view, at + 8),
  lost: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct event_process */
export const eventProcess = {
  SIZE: 32,
  offsets: { cgroup: 0, pid: 8, name: 12 },
  cgroup: (view: DataView, at: number) => readCounter(view, at + 0),
  pid: (view: DataView, at: number) => view.getUint32(at + 8, true),
  name: (view: DataView, at: number) => readString(view, at + 12, 16),
} as const;

/** enum flow_end */
export const flowEnd = {
  closed: 0,
  reset_by_peer: 1,
  reset_here: 2,
  timeout: 3,
  other: 4,
  not_refused: 5,
  not_timeout: 6,
  not_unreachable: 7,
  not_given_up: 8,
  not_no_port: 9,
  not_other: 10,
} as const;

/** enum flow_field */
export const flowField = {
  connections: 0,
  sent_bytes: 1,
  received_bytes: 2,
  sent_segments: 3,
  received_segments: 4,
  retransmitted_segments: 5,
  retransmitted_bytes: 6,
  out_of_order_segments: 7,
  busy: 8,
  receiver_limited: 9,
  send_buffer_limited: 10,
} as const;

/** struct flow_key */
export const flowKey = {
  SIZE: 40,
  offsets: { netns: 0, cgroup: 8, peer: 16, port: 32, role: 34, spare: 35 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  peer: (view: DataView, at: number) => readBytes(view, at + 16, 16),
  port: (view: DataView, at: number) => view.getUint16(at + 32, true),
  role: (view: DataView, at: number) => view.getUint8(at + 34),
  spare: (view: DataView, at: number) => readBytes(view, at + 35, 5),
} as const;

/** enum flow_role */
export const flowRole = {
  client: 0,
  server: 1,
  listener: 2,
} as const;

/** struct flow_row */
export const flowRow = {
  SIZE: 320,
  offsets: { closed: 0, ends: 88, now: 176, roundTripSum: 264, roundTrips: 272, walk: 308, live: 312, evicted: 316 },
  closed: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  closedCount: 11,
  ends: (view: DataView, at: number, index: number) => readCounter(view, at + 88 + index * 8),
  endsCount: 11,
  now: (view: DataView, at: number, index: number) => readCounter(view, at + 176 + index * 8),
  nowCount: 11,
  roundTripSum: (view: DataView, at: number) => readCounter(view, at + 264),
  roundTrips: (view: DataView, at: number, index: number) => view.getUint32(at + 272 + index * 4, true),
  roundTripsCount: 9,
  walk: (view: DataView, at: number) => view.getUint32(at + 308, true),
  live: (view: DataView, at: number) => view.getUint32(at + 312, true),
  evicted: (view: DataView, at: number) => view.getUint32(at + 316, true),
} as const;

/** struct histogram */
export const histogram = {
  SIZE: 216,
  offsets: { sum: 0, counts: 8 },
  sum: (view: DataView, at: number) => readCounter(view, at + 0),
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 8 + index * 8),
  countsCount: 26,
} as const;

/** enum mib_ip_setting */
export const mibIpSetting = {
  forwarding: 0,
  default_ttl: 1,
} as const;

/** struct mib_row */
export const mibRow = {
  SIZE: 3936,
  offsets: { cookie: 0, flags: 8, tables: 12, onceIpSettings: 16, onceIcmpReceived: 32, onceIcmpSent: 184, onceIcmp6ErrorsReceived: 336, onceIcmp6ErrorsSent: 376, onceIcmp6InfosReceived: 416, onceIcmp6InfosSent: 544, values: 672 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  tables: (view: DataView, at: number) => view.getUint32(at + 12, true),
  onceIpSettings: (view: DataView, at: number, index: number) => readCounter(view, at + 16 + index * 8),
  onceIpSettingsCount: 2,
  onceIcmpReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 32 + index * 8),
  onceIcmpReceivedCount: 19,
  onceIcmpSent: (view: DataView, at: number, index: number) => readCounter(view, at + 184 + index * 8),
  onceIcmpSentCount: 19,
  onceIcmp6ErrorsReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 336 + index * 8),
  onceIcmp6ErrorsReceivedCount: 5,
  onceIcmp6ErrorsSent: (view: DataView, at: number, index: number) => readCounter(view, at + 376 + index * 8),
  onceIcmp6ErrorsSentCount: 5,
  onceIcmp6InfosReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 416 + index * 8),
  onceIcmp6InfosReceivedCount: 16,
  onceIcmp6InfosSent: (view: DataView, at: number, index: number) => readCounter(view, at + 544 + index * 8),
  onceIcmp6InfosSentCount: 16,
} as const;

/** enum mib_table */
export const mibTable = {
  tcp: 0,
  tcpext: 1,
  udp: 2,
  udp6: 3,
  udplite: 4,
  udplite6: 5,
  ip: 6,
  ip6: 7,
  icmp: 8,
  icmp6: 9,
  ip_settings: 10,
  icmp_types: 11,
  icmp6_types: 12,
} as const;

/** struct mib_values */
export const mibValues = {
  SIZE: 3264,
  offsets: { tcp: 0, tcpext: 192, udp: 1536, udp6: 1664, udplite: 1792, udplite6: 1920, ip: 2048, ip6: 2432, icmp: 2816, icmp6: 3136 },
  tcp: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  tcpCount: 24,
  tcpext: (view: DataView, at: number, index: number) => readCounter(view, at + 192 + index * 8),
  tcpextCount: 168,
  udp: (view: DataView, at: number, index: number) => readCounter(view, at + 1536 + index * 8),
  udpCount: 16,
  udp6: (view: DataView, at: number, index: number) => readCounter(view, at + 1664 + index * 8),
  udp6Count: 16,
  udplite: (view: DataView, at: number, index: number) => readCounter(view, at + 1792 + index * 8),
  udpliteCount: 16,
  udplite6: (view: DataView, at: number, index: number) => readCounter(view, at + 1920 + index * 8),
  udplite6Count: 16,
  ip: (view: DataView, at: number, index: number) => readCounter(view, at + 2048 + index * 8),
  ipCount: 48,
  ip6: (view: DataView, at: number, index: number) => readCounter(view, at + 2432 + index * 8),
  ip6Count: 48,
  icmp: (view: DataView, at: number, index: number) => readCounter(view, at + 2816 + index * 8),
  icmpCount: 40,
  icmp6: (view: DataView, at: number, index: number) => readCounter(view, at + 3136 + index * 8),
  icmp6Count: 16,
} as const;

/** struct misses */
export const misses = {
  SIZE: 32,
  offsets: { mapFull: 0, untracked: 8, noNetns: 16, addedUp: 24 },
  mapFull: (view: DataView, at: number) => readCounter(view, at + 0),
  untracked: (view: DataView, at: number) => readCounter(view, at + 8),
  noNetns: (view: DataView, at: number) => readCounter(view, at + 16),
  addedUp: (view: DataView, at: number) => readCounter(view, at + 24),
} as const;

/** enum netns_flag */
export const netnsFlag = {
  initial: 1,
  dying: 2,
  nested: 4,
} as const;

/** enum netns_walk_result */
export const netnsWalkResult = {
  starts_initial: 1073741824,
  done: 2147483648,
} as const;

/** enum owner_length */
export const ownerLength = {
  container_id: 64,
  pod_uid: 36,
  static_pod_uid: 32,
} as const;

/** struct owner_names */
export const ownerNames = {
  SIZE: 768,
  offsets: { containerText: 0, podText: 256, outerText: 512 },
  containerText: (view: DataView, at: number) => readString(view, at + 0, 256),
  podText: (view: DataView, at: number) => readString(view, at + 256, 256),
  outerText: (view: DataView, at: number) => readString(view, at + 512, 256),
} as const;

/** enum owner_slot */
export const ownerSlot = {
  unlisted: 0,
  nested: 1,
  first: 2,
} as const;

/** struct packet_tuple */
export const packetTuple = {
  SIZE: 40,
  offsets: { source: 0, destination: 16, sourcePort: 32, destinationPort: 34, ethertype: 36, protocol: 38, family: 39 },
  source: (view: DataView, at: number) => readBytes(view, at + 0, 16),
  destination: (view: DataView, at: number) => readBytes(view, at + 16, 16),
  sourcePort: (view: DataView, at: number) => view.getUint16(at + 32, true),
  destinationPort: (view: DataView, at: number) => view.getUint16(at + 34, true),
  ethertype: (view: DataView, at: number) => view.getUint16(at + 36, true),
  protocol: (view: DataView, at: number) => view.getUint8(at + 38),
  family: (view: DataView, at: number) => view.getUint8(at + 39),
} as const;

/** enum tcp_state */
export const tcpState = {
  established: 1,
  syn_sent: 2,
  syn_recv: 3,
  fin_wait1: 4,
  fin_wait2: 5,
  time_wait: 6,
  close: 7,
  close_wait: 8,
  last_ack: 9,
  listen: 10,
  closing: 11,
  new_syn_recv: 12,
} as const;
