// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

/** Names that several objects share. */
export interface CommonLayout {
  readonly constant: 'events_enabled' | 'filters_pods' | 'frees_answered_echo' | 'has_reasons' | 'jiffies_per_second' | 'keeps_exemplars' | 'keeps_traces' | 'node_netns' | 'not_specified' | 'owner_rows' | 'preempt_count_at' | 'protocol_memory' | 'receive_buffer' | 'reports_events' | 'ring_share' | 'subsystem_rules' | 'timer_bases_at' | 'unlisted_rows' | 'waits_for_udp';
  readonly setting: 'event_rate' | 'record_failed' | 'record_nanoseconds' | 'record_rate' | 'record_sample' | 'reports_records' | 'rules' | 'slow_nanoseconds' | 'threshold';
  readonly map: 'count_rest' | 'counts' | 'event_buckets' | 'event_ledgers' | 'events' | 'filtered_netns' | 'flow_allowed' | 'flow_log' | 'flow_log_head' | 'flow_log_shares' | 'flow_log_tail' | 'flow_rest' | 'flow_rest_used' | 'flow_rows' | 'flow_taken' | 'http_connections' | 'http_exemplars' | 'http_exemplars_taken' | 'http_recent' | 'http_record_buckets' | 'http_record_ledgers' | 'http_rows' | 'l7_again_received' | 'l7_again_sent' | 'l7_connections' | 'l7_kept' | 'mib_rows' | 'mib_scratch' | 'misses' | 'owner_current' | 'owner_scratch' | 'owners' | 'percpu_anchor' | 'percpu_cpus' | 'request_returned' | 'request_rows' | 'request_taken' | 'request_wanted' | 'rows_returned' | 'rows_taken';
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
  flow_log: 8192,
  flow_log_head: 1,
  flow_log_shares: 1026,
  flow_log_tail: 1,
  flow_rest: 3078,
  flow_rest_used: 1,
  flow_rows: 4096,
  flow_taken: 1026,
  http_exemplars: 1024,
  http_exemplars_taken: 1026,
  http_recent: 4096,
  http_record_buckets: 1026,
  http_record_ledgers: 1,
  http_rows: 4096,
  l7_again_received: 1,
  l7_again_sent: 1,
  l7_kept: 512,
  mib_rows: 256,
  mib_scratch: 1,
  misses: 1,
  owner_current: 1,
  owner_scratch: 1,
  owners: 2048,
  percpu_anchor: 1,
  percpu_cpus: 1,
  request_returned: 1026,
  request_rows: 4096,
  request_taken: 1026,
  request_wanted: 1,
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

/** struct flow_connection */
export const flowConnection = {
  SIZE: 88,
  offsets: { number: 0, key: 8, local: 48, localPort: 64, peerPort: 66, closed: 68, found: 69, state: 70, spare: 71, other: 72 },
  number: (view: DataView, at: number) => readCounter(view, at + 0),
  local: (view: DataView, at: number) => readBytes(view, at + 48, 16),
  localPort: (view: DataView, at: number) => view.getUint16(at + 64, true),
  peerPort: (view: DataView, at: number) => view.getUint16(at + 66, true),
  closed: (view: DataView, at: number) => view.getUint8(at + 68),
  found: (view: DataView, at: number) => view.getUint8(at + 69),
  state: (view: DataView, at: number) => view.getUint8(at + 70),
  spare: (view: DataView, at: number) => view.getUint8(at + 71),
  other: (view: DataView, at: number) => readBytes(view, at + 72, 16),
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

/** enum flow_found */
export const flowFound = {
  not_asked: 0,
  nothing: 1,
  original: 2,
  reply: 3,
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

/** struct flow_log_share */
export const flowLogShare = {
  SIZE: 16,
  offsets: { tail: 0, taken: 8 },
  tail: (view: DataView, at: number) => readCounter(view, at + 0),
  taken: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** enum flow_role */
export const flowRole = {
  client: 0,
  server: 1,
  listener: 2,
} as const;

/** struct flow_row */
export const flowRow = {
  SIZE: 328,
  offsets: { closed: 0, ends: 88, now: 176, roundTripSum: 264, roundTrips: 272, walk: 308, live: 312, evicted: 316, watched: 320, unlogged: 324 },
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
  watched: (view: DataView, at: number) => view.getUint32(at + 320, true),
  unlogged: (view: DataView, at: number) => view.getUint32(at + 324, true),
} as const;

/** struct histogram */
export const histogram = {
  SIZE: 216,
  offsets: { sum: 0, counts: 8 },
  sum: (view: DataView, at: number) => readCounter(view, at + 0),
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 8 + index * 8),
  countsCount: 26,
} as const;

/** enum http_cause */
export const httpCause = {
  nothing: 0,
  reordered: 1,
  late: 2,
  busy: 3,
  limit: 4,
  unreadable: 5,
  orphan: 6,
} as const;

/** struct http_connection */
export const httpConnection = {
  SIZE: 1120,
  offsets: { netns: 0, cgroup: 8, edge: 16, unlisted: 56, role: 60, isKnown: 61, isLate: 62, isPipelined: 63, isConfirmed: 64, unsure: 65, offers: 66, spare: 67, asked: 68, answered: 72, named: 76, responseSeq: 80, requestsTurnIsBusy: 88, requestsTurnNext: 92, requestsTurnIsPlaced: 96, requestsMode: 100, requestsMethod: 101, requestsBody: 102, requestsKept: 103, requestsIsInside: 104, requestsHasCoding: 105, requestsHasTrace: 106, requestsCause: 107, requestsSpare: 108, requestsRest: 112, requestsBegun: 120, requestsLine: 128, responsesTurnIsBusy: 256, responsesTurnNext: 260, responsesTurnIsPlaced: 264, responsesMode: 268, responsesMethod: 269, responsesBody: 270, responsesKept: 271, responsesIsInside: 272, responsesHasCoding: 273, responsesHasTrace: 274, responsesCause: 275, responsesSpare: 276, responsesRest: 280, responsesBegun: 288, responsesLine: 296, begun: 424, timed: 680, methods: 808, name: 936, trace: 1000 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  unlisted: (view: DataView, at: number) => view.getUint32(at + 56, true),
  role: (view: DataView, at: number) => view.getUint8(at + 60),
  isKnown: (view: DataView, at: number) => view.getUint8(at + 61),
  isLate: (view: DataView, at: number) => view.getUint8(at + 62),
  isPipelined: (view: DataView, at: number) => view.getUint8(at + 63),
  isConfirmed: (view: DataView, at: number) => view.getUint8(at + 64),
  unsure: (view: DataView, at: number) => view.getUint8(at + 65),
  offers: (view: DataView, at: number) => view.getUint8(at + 66),
  spare: (view: DataView, at: number) => view.getUint8(at + 67),
  asked: (view: DataView, at: number) => view.getUint32(at + 68, true),
  answered: (view: DataView, at: number) => view.getUint32(at + 72, true),
  named: (view: DataView, at: number) => view.getUint32(at + 76, true),
  responseSeq: (view: DataView, at: number) => view.getUint32(at + 80, true),
  requestsTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 88, true),
  requestsTurnNext: (view: DataView, at: number) => view.getUint32(at + 92, true),
  requestsTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 96, true),
  requestsMode: (view: DataView, at: number) => view.getUint8(at + 100),
  requestsMethod: (view: DataView, at: number) => view.getUint8(at + 101),
  requestsBody: (view: DataView, at: number) => view.getUint8(at + 102),
  requestsKept: (view: DataView, at: number) => view.getUint8(at + 103),
  requestsIsInside: (view: DataView, at: number) => view.getUint8(at + 104),
  requestsHasCoding: (view: DataView, at: number) => view.getUint8(at + 105),
  requestsHasTrace: (view: DataView, at: number) => view.getUint8(at + 106),
  requestsCause: (view: DataView, at: number) => view.getUint8(at + 107),
  requestsSpare: (view: DataView, at: number) => readBytes(view, at + 108, 4),
  requestsRest: (view: DataView, at: number) => readCounter(view, at + 112),
  requestsBegun: (view: DataView, at: number) => readCounter(view, at + 120),
  requestsLine: (view: DataView, at: number) => readBytes(view, at + 128, 128),
  responsesTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 256, true),
  responsesTurnNext: (view: DataView, at: number) => view.getUint32(at + 260, true),
  responsesTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 264, true),
  responsesMode: (view: DataView, at: number) => view.getUint8(at + 268),
  responsesMethod: (view: DataView, at: number) => view.getUint8(at + 269),
  responsesBody: (view: DataView, at: number) => view.getUint8(at + 270),
  responsesKept: (view: DataView, at: number) => view.getUint8(at + 271),
  responsesIsInside: (view: DataView, at: number) => view.getUint8(at + 272),
  responsesHasCoding: (view: DataView, at: number) => view.getUint8(at + 273),
  responsesHasTrace: (view: DataView, at: number) => view.getUint8(at + 274),
  responsesCause: (view: DataView, at: number) => view.getUint8(at + 275),
  responsesSpare: (view: DataView, at: number) => readBytes(view, at + 276, 4),
  responsesRest: (view: DataView, at: number) => readCounter(view, at + 280),
  responsesBegun: (view: DataView, at: number) => readCounter(view, at + 288),
  responsesLine: (view: DataView, at: number) => readBytes(view, at + 296, 128),
  begun: (view: DataView, at: number, index: number) => readCounter(view, at + 424 + index * 8),
  begunCount: 32,
  timed: (view: DataView, at: number, index: number) => view.getUint32(at + 680 + index * 4, true),
  timedCount: 32,
  methods: (view: DataView, at: number) => readBytes(view, at + 808, 128),
  name: (view: DataView, at: number) => readBytes(view, at + 936, 64),
} as const;

/** enum http_consumer */
export const httpConsumer = {
  event: 1,
  record: 2,
  drawn: 4,
} as const;

/** struct http_detail */
export const httpDetail = {
  SIZE: 8,
  offsets: { status: 0, role: 2, method: 3, cause: 4, version: 5, spare: 6 },
  status: (view: DataView, at: number) => view.getUint16(at + 0, true),
  role: (view: DataView, at: number) => view.getUint8(at + 2),
  method: (view: DataView, at: number) => view.getUint8(at + 3),
  cause: (view: DataView, at: number) => view.getUint8(at + 4),
  version: (view: DataView, at: number) => view.getUint8(at + 5),
  spare: (view: DataView, at: number) => readBytes(view, at + 6, 2),
} as const;

/** struct http_event */
export const httpEvent = {
  SIZE: 288,
  offsets: { time: 0, netns: 8, cgroup: 16, duration: 24, serverDuration: 32, tuple: 40, detail: 80, status: 88, method: 90, consumers: 91, lineForm: 92, lineBytes: 93, isLineCut: 94, hasTrace: 95, end: 96, spare: 97, trace: 104, line: 224 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 16),
  duration: (view: DataView, at: number) => readCounter(view, at + 24),
  serverDuration: (view: DataView, at: number) => readCounter(view, at + 32),
  status: (view: DataView, at: number) => view.getUint16(at + 88, true),
  method: (view: DataView, at: number) => view.getUint8(at + 90),
  consumers: (view: DataView, at: number) => view.getUint8(at + 91),
  lineForm: (view: DataView, at: number) => view.getUint8(at + 92),
  lineBytes: (view: DataView, at: number) => view.getUint8(at + 93),
  isLineCut: (view: DataView, at: number) => view.getUint8(at + 94),
  hasTrace: (view: DataView, at: number) => view.getUint8(at + 95),
  end: (view: DataView, at: number) => view.getUint8(at + 96),
  spare: (view: DataView, at: number) => readBytes(view, at + 97, 7),
  line: (view: DataView, at: number) => readBytes(view, at + 224, 64),
} as const;

/** struct http_exemplar */
export const httpExemplar = {
  SIZE: 136,
  offsets: { time: 0, duration: 8, trace: 16 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  duration: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct http_exemplar_key */
export const httpExemplarKey = {
  SIZE: 24,
  offsets: { netns: 0, cgroup: 8, role: 16, result: 17, bucket: 18, spare: 19 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  role: (view: DataView, at: number) => view.getUint8(at + 16),
  result: (view: DataView, at: number) => view.getUint8(at + 17),
  bucket: (view: DataView, at: number) => view.getUint8(at + 18),
  spare: (view: DataView, at: number) => readBytes(view, at + 19, 5),
} as const;

/** enum http_line_form */
export const httpLineForm = {
  none: 0,
  request: 1,
  path: 2,
  huffman: 3,
} as const;

/** enum http_method */
export const httpMethod = {
  other: 0,
  get: 1,
  head: 2,
  post: 3,
  put: 4,
  delete: 5,
  patch: 6,
  options: 7,
  connect: 8,
  trace: 9,
  none: 10,
} as const;

/** enum http_outcome */
export const httpOutcome = {
  begun: 0,
  none: 1,
  unknown: 2,
  stray: 3,
  given_up: 4,
  reset: 5,
} as const;

/** struct http_recent */
export const httpRecent = {
  SIZE: 16,
  offsets: { mixed: 0, duration: 8 },
  mixed: (view: DataView, at: number) => readCounter(view, at + 0),
  duration: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** enum http_result */
export const httpResult = {
  ok: 0,
  error: 1,
  call: 2,
} as const;

/** enum http_role */
export const httpRole = {
  client: 0,
  server: 1,
} as const;

/** struct http_row */
export const httpRow = {
  SIZE: 224,
  offsets: { requests: 0, durations: 8 },
  requests: (view: DataView, at: number) => readCounter(view, at + 0),
} as const;

/** struct http_trace */
export const httpTrace = {
  SIZE: 120,
  offsets: { number: 0, kind: 4, skip: 5, bytes: 6, form: 7, text: 8 },
  number: (view: DataView, at: number) => view.getUint32(at + 0, true),
  kind: (view: DataView, at: number) => view.getUint8(at + 4),
  skip: (view: DataView, at: number) => view.getUint8(at + 5),
  bytes: (view: DataView, at: number) => view.getUint8(at + 6),
  form: (view: DataView, at: number) => view.getUint8(at + 7),
  text: (view: DataView, at: number) => readBytes(view, at + 8, 112),
} as const;

/** enum http_trace_form */
export const httpTraceForm = {
  line: 0,
  value: 1,
  huffman: 2,
} as const;

/** enum http_trace_kind */
export const httpTraceKind = {
  none: 0,
  request_id: 1,
  sw8: 2,
  b3: 3,
  parent: 4,
} as const;

/** struct l7_connection */
export const l7Connection = {
  SIZE: 48,
  offsets: { netns: 0, cgroup: 8, sentNext: 16, sentIsKnown: 20, receivedNext: 24, receivedIsKnown: 28, protocol: 32, tries: 33, marks: 34, unlisted: 35, kept: 36, owner: 40, spare: 44 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  sentNext: (view: DataView, at: number) => view.getUint32(at + 16, true),
  sentIsKnown: (view: DataView, at: number) => view.getUint32(at + 20, true),
  receivedNext: (view: DataView, at: number) => view.getUint32(at + 24, true),
  receivedIsKnown: (view: DataView, at: number) => view.getUint32(at + 28, true),
  protocol: (view: DataView, at: number) => view.getUint8(at + 32),
  tries: (view: DataView, at: number) => view.getUint8(at + 33),
  marks: (view: DataView, at: number) => view.getUint8(at + 34),
  unlisted: (view: DataView, at: number) => view.getUint8(at + 35),
  kept: (view: DataView, at: number) => view.getUint32(at + 36, true),
  owner: (view: DataView, at: number) => view.getUint32(at + 40, true),
  spare: (view: DataView, at: number) => view.getUint32(at + 44, true),
} as const;

/** enum l7_protocol */
export const l7Protocol = {
  unknown: 0,
  other: 1,
  datagram_dns: 2,
  dns: 3,
  http1: 4,
  http2: 5,
  tls: 6,
} as const;

/** struct l7_segment */
export const l7Segment = {
  SIZE: 16400,
  offsets: { length: 0, ack: 4, time: 8, bytes: 16 },
  length: (view: DataView, at: number) => view.getUint32(at + 0, true),
  ack: (view: DataView, at: number) => view.getUint32(at + 4, true),
  time: (view: DataView, at: number) => readCounter(view, at + 8),
  bytes: (view: DataView, at: number) => readBytes(view, at + 16, 16384),
} as const;

/** struct l7_segment_key */
export const l7SegmentKey = {
  SIZE: 16,
  offsets: { connection: 0, seq: 8, padding: 12 },
  connection: (view: DataView, at: number) => readCounter(view, at + 0),
  seq: (view: DataView, at: number) => view.getUint32(at + 8, true),
  padding: (view: DataView, at: number) => view.getUint32(at + 12, true),
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
  sequence: 7,
  old: 8,
  queue: 9,
  qdisc: 10,
  class: 11,
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

/** struct place_key */
export const placeKey = {
  SIZE: 24,
  offsets: { netns: 0, cgroup: 8, detail: 16 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  detail: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct request_key */
export const requestKey = {
  SIZE: 40,
  offsets: { netns: 0, cgroup: 8, peer: 16, port: 32, role: 34, protocol: 35, spare: 36 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  peer: (view: DataView, at: number) => readBytes(view, at + 16, 16),
  port: (view: DataView, at: number) => view.getUint16(at + 32, true),
  role: (view: DataView, at: number) => view.getUint8(at + 34),
  protocol: (view: DataView, at: number) => view.getUint8(at + 35),
  spare: (view: DataView, at: number) => readBytes(view, at + 36, 4),
} as const;

/** enum request_outcome */
export const requestOutcome = {
  ok: 0,
  declined: 1,
  failed: 2,
  unread: 3,
} as const;

/** enum request_role */
export const requestRole = {
  client: 0,
  server: 1,
} as const;

/** struct request_row */
export const requestRow = {
  SIZE: 120,
  offsets: { requests: 0, sum: 32, durations: 40, leaving: 112 },
  requests: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  requestsCount: 4,
  sum: (view: DataView, at: number) => readCounter(view, at + 32),
  durations: (view: DataView, at: number, index: number) => readCounter(view, at + 40 + index * 8),
  durationsCount: 9,
  leaving: (view: DataView, at: number) => readCounter(view, at + 112),
} as const;

/** struct request_wanted */
export const requestWanted = {
  SIZE: 16,
  offsets: { isOn: 0, ownerRows: 4, unlistedRows: 8, padding: 12 },
  isOn: (view: DataView, at: number) => view.getUint32(at + 0, true),
  ownerRows: (view: DataView, at: number) => view.getUint32(at + 4, true),
  unlistedRows: (view: DataView, at: number) => view.getUint32(at + 8, true),
  padding: (view: DataView, at: number) => view.getUint32(at + 12, true),
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
