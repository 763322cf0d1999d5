// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'http2.bpf.o';

/** Names in the object; the constants are its `const volatile` variables. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'keeps_traces' | 'keeps_exemplars' | 'reports_events' | 'reports_records' | 'slow_nanoseconds' | 'record_failed' | 'record_nanoseconds' | 'record_sample' | 'record_rate' | 'path_seed' | 'owner_streams' | 'http2_static';
  readonly map: 'http_exemplars' | 'http_exemplars_taken' | 'http_rows' | 'http2_streams' | 'filtered_netns' | 'l7_connections' | 'l7_kept' | 'l7_again_sent' | 'l7_again_received' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'request_rows' | 'request_taken' | 'request_returned' | 'request_wanted' | 'http_connections' | 'http_record_ledgers' | 'http_record_buckets' | 'http_recent' | 'grpc_names' | 'grpc_named' | 'http2_followed' | 'http2_connections';
  readonly program: 'http2_sent' | 'http2_kept_early' | 'http2_received' | 'http2_kept_received' | 'http2_closed';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  http2_streams: 4096,
  grpc_names: 4096,
  grpc_named: 1026,
  http2_followed: 1026,
} as const;

/** enum grpc_outcome */
export const grpcOutcome = {
  none: 17,
  reset: 18,
  unseen: 19,
} as const;

/** enum http2_end */
export const http2End = {
  complete: 0,
  reset: 1,
  cancelled: 2,
  goaway: 3,
  none: 4,
  unknown: 5,
} as const;

/** struct grpc_detail */
export const grpcDetail = {
  SIZE: 8,
  offsets: { code: 0, cause: 1, role: 2, method: 3, name: 4 },
  code: (view: DataView, at: number) => view.getUint8(at + 0),
  cause: (view: DataView, at: number) => view.getUint8(at + 1),
  role: (view: DataView, at: number) => view.getUint8(at + 2),
  method: (view: DataView, at: number) => view.getUint8(at + 3),
  name: (view: DataView, at: number) => view.getUint32(at + 4, true),
} as const;

/** struct grpc_name_key */
export const grpcNameKey = {
  SIZE: 8,
  offsets: { owner: 0, name: 4 },
  owner: (view: DataView, at: number) => view.getUint32(at + 0, true),
  name: (view: DataView, at: number) => view.getUint32(at + 4, true),
} as const;

/** struct http2_connection */
export const http2Connection = {
  SIZE: 3896,
  offsets: { netns: 0, cgroup: 8, edge: 16, cookie: 56, unlisted: 64, owner: 68, role: 72, isKnown: 73, isUnsure: 74, gap: 75, last: 76, pathHash: 80, path: 84, ends: 156, traced: 196, trace: 200, textsKept: 320, hashes: 324, texts: 356, requestsBegun: 936, requestsTurnIsBusy: 944, requestsTurnNext: 948, requestsTurnIsPlaced: 952, requestsStream: 956, requestsLength: 960, requestsFragment: 964, requestsPadding: 968, requestsRest: 972, requestsBlockStream: 976, requestsBlockSeq: 980, requestsMode: 984, requestsType: 985, requestsFlags: 986, requestsHasBlock: 987, requestsIsPromise: 988, requestsBlockEndsStream: 989, requestsKind: 990, requestsInserts: 991, requestsCause: 992, requestsKept: 993, requestsHeadKept: 994, requestsHeadWanted: 995, requestsResumes: 996, requestsFound: 1000, requestsHead: 1064, requestsBuffer: 1112, requestsTableInserted: 1256, requestsTableValues: 1260, requestsTableKinds: 1772, responsesBegun: 1904, responsesTurnIsBusy: 1912, responsesTurnNext: 1916, responsesTurnIsPlaced: 1920, responsesStream: 1924, responsesLength: 1928, responsesFragment: 1932, responsesPadding: 1936, responsesRest: 1940, responsesBlockStream: 1944, responsesBlockSeq: 1948, responsesMode: 1952, responsesType: 1953, responsesFlags: 1954, responsesHasBlock: 1955, responsesIsPromise: 1956, responsesBlockEndsStream: 1957, responsesKind: 1958, responsesInserts: 1959, responsesCause: 1960, responsesKept: 1961, responsesHeadKept: 1962, responsesHeadWanted: 1963, responsesResumes: 1964, responsesFound: 1968, responsesHead: 2032, responsesBuffer: 2080, responsesTableInserted: 2224, responsesTableValues: 2228, responsesTableKinds: 2740, open: 2872 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  cookie: (view: DataView, at: number) => readCounter(view, at + 56),
  unlisted: (view: DataView, at: number) => view.getUint32(at + 64, true),
  owner: (view: DataView, at: number) => view.getUint32(at + 68, true),
  role: (view: DataView, at: number) => view.getUint8(at + 72),
  isKnown: (view: DataView, at: number) => view.getUint8(at + 73),
  isUnsure: (view: DataView, at: number) => view.getUint8(at + 74),
  gap: (view: DataView, at: number) => view.getUint8(at + 75),
  last: (view: DataView, at: number) => view.getUint32(at + 76, true),
  pathHash: (view: DataView, at: number) => view.getUint32(at + 80, true),
  traced: (view: DataView, at: number) => view.getUint32(at + 196, true),
  textsKept: (view: DataView, at: number) => view.getUint32(at + 320, true),
  hashes: (view: DataView, at: number, index: number) => view.getUint32(at + 324 + index * 4, true),
  hashesCount: 8,
  textsCount: 8,
  requestsBegun: (view: DataView, at: number) => readCounter(view, at + 936),
  requestsTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 944, true),
  requestsTurnNext: (view: DataView, at: number) => view.getUint32(at + 948, true),
  requestsTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 952, true),
  requestsStream: (view: DataView, at: number) => view.getUint32(at + 956, true),
  requestsLength: (view: DataView, at: number) => view.getUint32(at + 960, true),
  requestsFragment: (view: DataView, at: number) => view.getUint32(at + 964, true),
  requestsPadding: (view: DataView, at: number) => view.getUint32(at + 968, true),
  requestsRest: (view: DataView, at: number) => view.getUint32(at + 972, true),
  requestsBlockStream: (view: DataView, at: number) => view.getUint32(at + 976, true),
  requestsBlockSeq: (view: DataView, at: number) => view.getUint32(at + 980, true),
  requestsMode: (view: DataView, at: number) => view.getUint8(at + 984),
  requestsType: (view: DataView, at: number) => view.getUint8(at + 985),
  requestsFlags: (view: DataView, at: number) => view.getUint8(at + 986),
  requestsHasBlock: (view: DataView, at: number) => view.getUint8(at + 987),
  requestsIsPromise: (view: DataView, at: number) => view.getUint8(at + 988),
  requestsBlockEndsStream: (view: DataView, at: number) => view.getUint8(at + 989),
  requestsKind: (view: DataView, at: number) => view.getUint8(at + 990),
  requestsInserts: (view: DataView, at: number) => view.getUint8(at + 991),
  requestsCause: (view: DataView, at: number) => view.getUint8(at + 992),
  requestsKept: (view: DataView, at: number) => view.getUint8(at + 993),
  requestsHeadKept: (view: DataView, at: number) => view.getUint8(at + 994),
  requestsHeadWanted: (view: DataView, at: number) => view.getUint8(at + 995),
  requestsResumes: (view: DataView, at: number) => view.getUint8(at + 996),
  requestsFound: (view: DataView, at: number, index: number) => view.getUint32(at + 1000 + index * 4, true),
  requestsFoundCount: 16,
  requestsHead: (view: DataView, at: number) => readBytes(view, at + 1064, 48),
  requestsBuffer: (view: DataView, at: number) => readBytes(view, at + 1112, 144),
  requestsTableInserted: (view: DataView, at: number) => view.getUint32(at + 1256, true),
  requestsTableValues: (view: DataView, at: number, index: number) => view.getUint32(at + 1260 + index * 4, true),
  requestsTableValuesCount: 128,
  requestsTableKinds: (view: DataView, at: number) => readBytes(view, at + 1772, 128),
  responsesBegun: (view: DataView, at: number) => readCounter(view, at + 1904),
  responsesTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 1912, true),
  responsesTurnNext: (view: DataView, at: number) => view.getUint32(at + 1916, true),
  responsesTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 1920, true),
  responsesStream: (view: DataView, at: number) => view.getUint32(at + 1924, true),
  responsesLength: (view: DataView, at: number) => view.getUint32(at + 1928, true),
  responsesFragment: (view: DataView, at: number) => view.getUint32(at + 1932, true),
  responsesPadding: (view: DataView, at: number) => view.getUint32(at + 1936, true),
  responsesRest: (view: DataView, at: number) => view.getUint32(at + 1940, true),
  responsesBlockStream: (view: DataView, at: number) => view.getUint32(at + 1944, true),
  responsesBlockSeq: (view: DataView, at: number) => view.getUint32(at + 1948, true),
  responsesMode: (view: DataView, at: number) => view.getUint8(at + 1952),
  responsesType: (view: DataView, at: number) => view.getUint8(at + 1953),
  responsesFlags: (view: DataView, at: number) => view.getUint8(at + 1954),
  responsesHasBlock: (view: DataView, at: number) => view.getUint8(at + 1955),
  responsesIsPromise: (view: DataView, at: number) => view.getUint8(at + 1956),
  responsesBlockEndsStream: (view: DataView, at: number) => view.getUint8(at + 1957),
  responsesKind: (view: DataView, at: number) => view.getUint8(at + 1958),
  responsesInserts: (view: DataView, at: number) => view.getUint8(at + 1959),
  responsesCause: (view: DataView, at: number) => view.getUint8(at + 1960),
  responsesKept: (view: DataView, at: number) => view.getUint8(at + 1961),
  responsesHeadKept: (view: DataView, at: number) => view.getUint8(at + 1962),
  responsesHeadWanted: (view: DataView, at: number) => view.getUint8(at + 1963),
  responsesResumes: (view: DataView, at: number) => view.getUint8(at + 1964),
  responsesFound: (view: DataView, at: number, index: number) => view.getUint32(at + 1968 + index * 4, true),
  responsesFoundCount: 16,
  responsesHead: (view: DataView, at: number) => readBytes(view, at + 2032, 48),
  responsesBuffer: (view: DataView, at: number) => readBytes(view, at + 2080, 144),
  responsesTableInserted: (view: DataView, at: number) => view.getUint32(at + 2224, true),
  responsesTableValues: (view: DataView, at: number, index: number) => view.getUint32(at + 2228 + index * 4, true),
  responsesTableValuesCount: 128,
  responsesTableKinds: (view: DataView, at: number) => readBytes(view, at + 2740, 128),
  open: (view: DataView, at: number, index: number) => view.getUint32(at + 2872 + index * 4, true),
  openCount: 256,
} as const;

/** struct http2_stream */
export const http2Stream = {
  SIZE: 240,
  offsets: { begun: 0, duration: 8, serverDuration: 16, name: 24, responseSeq: 28, isEnded: 32, code: 36, status: 38, method: 40, content: 41, isAnswered: 42, isHidden: 43, slot: 44, isCounted: 45, spare: 46, path: 48, trace: 120 },
  begun: (view: DataView, at: number) => readCounter(view, at + 0),
  duration: (view: DataView, at: number) => readCounter(view, at + 8),
  serverDuration: (view: DataView, at: number) => readCounter(view, at + 16),
  name: (view: DataView, at: number) => view.getUint32(at + 24, true),
  responseSeq: (view: DataView, at: number) => view.getUint32(at + 28, true),
  isEnded: (view: DataView, at: number) => view.getUint32(at + 32, true),
  code: (view: DataView, at: number) => view.getUint16(at + 36, true),
  status: (view: DataView, at: number) => view.getUint16(at + 38, true),
  method: (view: DataView, at: number) => view.getUint8(at + 40),
  content: (view: DataView, at: number) => view.getUint8(at + 41),
  isAnswered: (view: DataView, at: number) => view.getUint8(at + 42),
  isHidden: (view: DataView, at: number) => view.getUint8(at + 43),
  slot: (view: DataView, at: number) => view.getUint8(at + 44),
  isCounted: (view: DataView, at: number) => view.getUint8(at + 45),
  spare: (view: DataView, at: number) => readBytes(view, at + 46, 2),
} as const;

/** struct http2_stream_key */
export const http2StreamKey = {
  SIZE: 16,
  offsets: { connection: 0, stream: 8, spare: 12 },
  connection: (view: DataView, at: number) => readCounter(view, at + 0),
  stream: (view: DataView, at: number) => view.getUint32(at + 8, true),
  spare: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct http2_text */
export const http2Text = {
  SIZE: 72,
  offsets: { length: 0, form: 4, isCut: 5, spare: 6, bytes: 8 },
  length: (view: DataView, at: number) => view.getUint32(at + 0, true),
  form: (view: DataView, at: number) => view.getUint8(at + 4),
  isCut: (view: DataView, at: number) => view.getUint8(at + 5),
  spare: (view: DataView, at: number) => readBytes(view, at + 6, 2),
  bytes: (view: DataView, at: number) => readBytes(view, at + 8, 64),
} as const;
