// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'dns.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'waiting_max' | 'notes_missing' | 'reads_typed' | 'node_netns';
  readonly setting: 'event_rate';
  readonly map: 'l7_connections' | 'l7_kept' | 'l7_again_sent' | 'l7_again_received' | 'filtered_netns' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'dns_streams' | 'misses' | 'rows_taken' | 'rows_returned' | 'request_rows' | 'request_taken' | 'request_returned' | 'request_wanted' | 'dns_rows' | 'dns_waiting' | 'dns_waiting_more' | 'dns_waiting_taken' | 'dns_missing' | 'dns_missing_taken' | 'dns_told';
  readonly program: 'dns_give_up' | 'dns_datagram_sent' | 'dns_sent' | 'dns_datagram_received' | 'dns_received';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  dns_rows: 4096,
  dns_waiting: 4096,
  dns_waiting_more: 1,
  dns_waiting_taken: 1026,
  dns_missing: 1024,
  dns_missing_taken: 1026,
  dns_told: 32832,
} as const;

/** enum dns_end */
export const dnsEnd = {
  unanswered: 0,
  stopped: 1,
} as const;

/** enum dns_rcode */
export const dnsRcode = {
  noerror: 0,
  formerr: 1,
  servfail: 2,
  nxdomain: 3,
  notimp: 4,
  refused: 5,
  yxdomain: 6,
  yxrrset: 7,
  nxrrset: 8,
  notauth: 9,
  notzone: 10,
  other: 11,
} as const;

/** enum dns_role */
export const dnsRole = {
  client: 0,
  server: 1,
} as const;

/** enum dns_type */
export const dnsType = {
  a: 0,
  aaaa: 1,
  cname: 2,
  https: 3,
  mx: 4,
  ns: 5,
  ptr: 6,
  soa: 7,
  srv: 8,
  txt: 9,
  other: 10,
} as const;

/** enum dns_unknown */
export const dnsUnknown = {
  malformed: 0,
  operation: 1,
  several: 2,
  missing: 3,
  unasked: 4,
  mismatched: 5,
  untracked: 6,
  stopped: 7,
} as const;

/** struct dns_answer */
export const dnsAnswer = {
  SIZE: 536,
  offsets: { netns: 0, cgroup: 8, length: 16, bytes: 20, message: 24 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  length: (view: DataView, at: number) => view.getUint32(at + 16, true),
  bytes: (view: DataView, at: number) => view.getUint32(at + 20, true),
  message: (view: DataView, at: number) => readBytes(view, at + 24, 512),
} as const;

/** struct dns_key */
export const dnsKey = {
  SIZE: 32,
  offsets: { socket: 0, peer: 8, port: 24, id: 26, isTcp: 28, isIpv6: 29, padding: 30 },
  socket: (view: DataView, at: number) => readCounter(view, at + 0),
  peer: (view: DataView, at: number) => readBytes(view, at + 8, 16),
  port: (view: DataView, at: number) => view.getUint16(at + 24, true),
  id: (view: DataView, at: number) => view.getUint16(at + 26, true),
  isTcp: (view: DataView, at: number) => view.getUint8(at + 28),
  isIpv6: (view: DataView, at: number) => view.getUint8(at + 29),
  padding: (view: DataView, at: number) => readBytes(view, at + 30, 2),
} as const;

/** struct dns_missing_key */
export const dnsMissingKey = {
  SIZE: 24,
  offsets: { netns: 0, cgroup: 8, hash: 16 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  hash: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct dns_row */
export const dnsRow = {
  SIZE: 480,
  offsets: { queries: 0, answers: 88, unknown: 184, unanswered: 248, truncated: 256, durations: 264 },
  queries: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  queriesCount: 11,
  answers: (view: DataView, at: number, index: number) => readCounter(view, at + 88 + index * 8),
  answersCount: 12,
  unknown: (view: DataView, at: number, index: number) => readCounter(view, at + 184 + index * 8),
  unknownCount: 8,
  unanswered: (view: DataView, at: number) => readCounter(view, at + 248),
  truncated: (view: DataView, at: number) => readCounter(view, at + 256),
} as const;

/** struct dns_stream */
export const dnsStream = {
  SIZE: 2064,
  offsets: { sentBytes: 0, sentPadding: 4, sentData: 8, receivedBytes: 1032, receivedPadding: 1036, receivedData: 1040 },
  sentBytes: (view: DataView, at: number) => view.getUint32(at + 0, true),
  sentPadding: (view: DataView, at: number) => view.getUint32(at + 4, true),
  sentData: (view: DataView, at: number) => readBytes(view, at + 8, 1024),
  receivedBytes: (view: DataView, at: number) => view.getUint32(at + 1032, true),
  receivedPadding: (view: DataView, at: number) => view.getUint32(at + 1036, true),
  receivedData: (view: DataView, at: number) => readBytes(view, at + 1040, 1024),
} as const;

/** struct dns_told */
export const dnsTold = {
  SIZE: 16,
  offsets: { hash: 0, until: 8 },
  hash: (view: DataView, at: number) => readCounter(view, at + 0),
  until: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct dns_waiting */
export const dnsWaiting = {
  SIZE: 176,
  offsets: { start: 0, netns: 8, cgroup: 16, hash: 24, copies: 32, type: 36, nameBytes: 38, role: 40, unlisted: 41, padding: 42, slot: 44, name: 48 },
  start: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 16),
  hash: (view: DataView, at: number) => readCounter(view, at + 24),
  copies: (view: DataView, at: number) => view.getUint32(at + 32, true),
  type: (view: DataView, at: number) => view.getUint16(at + 36, true),
  nameBytes: (view: DataView, at: number) => view.getUint16(at + 38, true),
  role: (view: DataView, at: number) => view.getUint8(at + 40),
  unlisted: (view: DataView, at: number) => view.getUint8(at + 41),
  padding: (view: DataView, at: number) => readBytes(view, at + 42, 2),
  slot: (view: DataView, at: number) => view.getUint32(at + 44, true),
  name: (view: DataView, at: number) => readBytes(view, at + 48, 128),
} as const;
