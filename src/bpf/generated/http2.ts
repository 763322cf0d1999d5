// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'http2.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'keeps_traces' | 'keeps_exemplars' | 'reports_events' | 'path_seed' | 'owner_streams' | 'http2_static';
  readonly setting: 'event_rate' | 'reports_records' | 'slow_nanoseconds' | 'record_failed' | 'record_nanoseconds' | 'record_sample' | 'record_rate';
  readonly map: 'http_exemplars' | 'http_exemplars_taken' | 'http_rows' | 'http2_streams' | 'filtered_netns' | 'l7_connections' | 'l7_kept' | 'l7_again_sent' | 'l7_again_received' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'request_rows' | 'request_taken' | 'request_returned' | 'request_wanted' | 'http_connections' | 'http_record_ledgers' | 'http_record_buckets' | 'http_recent' | 'grpc_names' | 'grpc_named' | 'http2_followed' | 'http2_connections';
  readonly program: 'http2_sent' | 'http2_received' | 'http2_closed';
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
  SIZE: 3944,
  offsets: { netns: 0, cgroup: 8, edge: 16, cookie: 56, unlisted: 64, owner: 68, role: 72, isKnown: 73, isUnsure: 74, gap: 75, last: 76, pathHash: 80, path: 84, ends: 156, traced: 196, trace: 200, textsKept: 320, hashes: 324, texts: 356, requestsBegun: 936, requestsPartNow: 944, requestsPartStart: 952, requestsPartPosition: 956, requestsPartEnd: 960, requestsPartSeq: 964, requestsPartBeyond: 968, requestsPartWindow: 972, requestsPartInWindow: 976, requestsPartDirection: 980, requestsPartIsResponse: 981, requestsPartMarks: 982, requestsPartSpare: 983, requestsTurnIsBusy: 984, requestsTurnNext: 988, requestsTurnIsPlaced: 992, requestsStream: 996, requestsLength: 1000, requestsFragment: 1004, requestsPadding: 1008, requestsRest: 1012, requestsBlockStream: 1016, requestsBlockSeq: 1020, requestsMode: 1024, requestsType: 1025, requestsFlags: 1026, requestsHasBlock: 1027, requestsIsPromise: 1028, requestsBlockEndsStream: 1029, requestsKind: 1030, requestsInserts: 1031, requestsCause: 1032, requestsKept: 1033, requestsHeadKept: 1034, requestsHeadWanted: 1035, requestsResumes: 1036, requestsFound: 1040, requestsHead: 1104, requestsBuffer: 1136, requestsTableInserted: 1280, requestsTableValues: 1284, requestsTableKinds: 1796, responsesBegun: 1928, responsesPartNow: 1936, responsesPartStart: 1944, responsesPartPosition: 1948, responsesPartEnd: 1952, responsesPartSeq: 1956, responsesPartBeyond: 1960, responsesPartWindow: 1964, responsesPartInWindow: 1968, responsesPartDirection: 1972, responsesPartIsResponse: 1973, responsesPartMarks: 1974, responsesPartSpare: 1975, responsesTurnIsBusy: 1976, responsesTurnNext: 1980, responsesTurnIsPlaced: 1984, responsesStream: 1988, responsesLength: 1992, responsesFragment: 1996, responsesPadding: 2000, responsesRest: 2004, responsesBlockStream: 2008, responsesBlockSeq: 2012, responsesMode: 2016, responsesType: 2017, responsesFlags: 2018, responsesHasBlock: 2019, responsesIsPromise: 2020, responsesBlockEndsStream: 2021, responsesKind: 2022, responsesInserts: 2023, responsesCause: 2024, responsesKept: 2025, responsesHeadKept: 2026, responsesHeadWanted: 2027, responsesResumes: 2028, responsesFound: 2032, responsesHead: 2096, responsesBuffer: 2128, responsesTableInserted: 2272, responsesTableValues: 2276, responsesTableKinds: 2788, open: 2920 },
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
  requestsPartNow: (view: DataView, at: number) => readCounter(view, at + 944),
  requestsPartStart: (view: DataView, at: number) => view.getUint32(at + 952, true),
  requestsPartPosition: (view: DataView, at: number) => view.getUint32(at + 956, true),
  requestsPartEnd: (view: DataView, at: number) => view.getUint32(at + 960, true),
  requestsPartSeq: (view: DataView, at: number) => view.getUint32(at + 964, true),
  requestsPartBeyond: (view: DataView, at: number) => view.getUint32(at + 968, true),
  requestsPartWindow: (view: DataView, at: number) => view.getUint32(at + 972, true),
  requestsPartInWindow: (view: DataView, at: number) => view.getUint32(at + 976, true),
  requestsPartDirection: (view: DataView, at: number) => view.getUint8(at + 980),
  requestsPartIsResponse: (view: DataView, at: number) => view.getUint8(at + 981),
  requestsPartMarks: (view: DataView, at: number) => view.getUint8(at + 982),
  requestsPartSpare: (view: DataView, at: number) => view.getUint8(at + 983),
  requestsTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 984, true),
  requestsTurnNext: (view: DataView, at: number) => view.getUint32(at + 988, true),
  requestsTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 992, true),
  requestsStream: (view: DataView, at: number) => view.getUint32(at + 996, true),
  requestsLength: (view: DataView, at: number) => view.getUint32(at + 1000, true),
  requestsFragment: (view: DataView, at: number) => view.getUint32(at + 1004, true),
  requestsPadding: (view: DataView, at: number) => view.getUint32(at + 1008, true),
  requestsRest: (view: DataView, at: number) => view.getUint32(at + 1012, true),
  requestsBlockStream: (view: DataView, at: number) => view.getUint32(at + 1016, true),
  requestsBlockSeq: (view: DataView, at: number) => view.getUint32(at + 1020, true),
  requestsMode: (view: DataView, at: number) => view.getUint8(at + 1024),
  requestsType: (view: DataView, at: number) => view.getUint8(at + 1025),
  requestsFlags: (view: DataView, at: number) => view.getUint8(at + 1026),
  requestsHasBlock: (view: DataView, at: number) => view.getUint8(at + 1027),
  requestsIsPromise: (view: DataView, at: number) => view.getUint8(at + 1028),
  requestsBlockEndsStream: (view: DataView, at: number) => view.getUint8(at + 1029),
  requestsKind: (view: DataView, at: number) => view.getUint8(at + 1030),
  requestsInserts: (view: DataView, at: number) => view.getUint8(at + 1031),
  requestsCause: (view: DataView, at: number) => view.getUint8(at + 1032),
  requestsKept: (view: DataView, at: number) => view.getUint8(at + 1033),
  requestsHeadKept: (view: DataView, at: number) => view.getUint8(at + 1034),
  requestsHeadWanted: (view: DataView, at: number) => view.getUint8(at + 1035),
  requestsResumes: (view: DataView, at: number) => view.getUint8(at + 1036),
  requestsFound: (view: DataView, at: number, index: number) => view.getUint32(at + 1040 + index * 4, true),
  requestsFoundCount: 16,
  requestsHead: (view: DataView, at: number) => readBytes(view, at + 1104, 32),
  requestsBuffer: (view: DataView, at: number) => readBytes(view, at + 1136, 144),
  requestsTableInserted: (view: DataView, at: number) => view.getUint32(at + 1280, true),
  requestsTableValues: (view: DataView, at: number, index: number) => view.getUint32(at + 1284 + index * 4, true),
  requestsTableValuesCount: 128,
  requestsTableKinds: (view: DataView, at: number) => readBytes(view, at + 1796, 128),
  responsesBegun: (view: DataView, at: number) => readCounter(view, at + 1928),
  responsesPartNow: (view: DataView, at: number) => readCounter(view, at + 1936),
  responsesPartStart: (view: DataView, at: number) => view.getUint32(at + 1944, true),
  responsesPartPosition: (view: DataView, at: number) => view.getUint32(at + 1948, true),
  responsesPartEnd: (view: DataView, at: number) => view.getUint32(at + 1952, true),
  responsesPartSeq: (view: DataView, at: number) => view.getUint32(at + 1956, true),
  responsesPartBeyond: (view: DataView, at: number) => view.getUint32(at + 1960, true),
  responsesPartWindow: (view: DataView, at: number) => view.getUint32(at + 1964, true),
  responsesPartInWindow: (view: DataView, at: number) => view.getUint32(at + 1968, true),
  responsesPartDirection: (view: DataView, at: number) => view.getUint8(at + 1972),
  responsesPartIsResponse: (view: DataView, at: number) => view.getUint8(at + 1973),
  responsesPartMarks: (view: DataView, at: number) => view.getUint8(at + 1974),
  responsesPartSpare: (view: DataView, at: number) => view.getUint8(at + 1975),
  responsesTurnIsBusy: (view: DataView, at: number) => view.getUint32(at + 1976, true),
  responsesTurnNext: (view: DataView, at: number) => view.getUint32(at + 1980, true),
  responsesTurnIsPlaced: (view: DataView, at: number) => view.getUint32(at + 1984, true),
  responsesStream: (view: DataView, at: number) => view.getUint32(at + 1988, true),
  responsesLength: (view: DataView, at: number) => view.getUint32(at + 1992, true),
  responsesFragment: (view: DataView, at: number) => view.getUint32(at + 1996, true),
  responsesPadding: (view: DataView, at: number) => view.getUint32(at + 2000, true),
  responsesRest: (view: DataView, at: number) => view.getUint32(at + 2004, true),
  responsesBlockStream: (view: DataView, at: number) => view.getUint32(at + 2008, true),
  responsesBlockSeq: (view: DataView, at: number) => view.getUint32(at + 2012, true),
  responsesMode: (view: DataView, at: number) => view.getUint8(at + 2016),
  responsesType: (view: DataView, at: number) => view.getUint8(at + 2017),
  responsesFlags: (view: DataView, at: number) => view.getUint8(at + 2018),
  responsesHasBlock: (view: DataView, at: number) => view.getUint8(at + 2019),
  responsesIsPromise: (view: DataView, at: number) => view.getUint8(at + 2020),
  responsesBlockEndsStream: (view: DataView, at: number) => view.getUint8(at + 2021),
  responsesKind: (view: DataView, at: number) => view.getUint8(at + 2022),
  responsesInserts: (view: DataView, at: number) => view.getUint8(at + 2023),
  responsesCause: (view: DataView, at: number) => view.getUint8(at + 2024),
  responsesKept: (view: DataView, at: number) => view.getUint8(at + 2025),
  responsesHeadKept: (view: DataView, at: number) => view.getUint8(at + 2026),
  responsesHeadWanted: (view: DataView, at: number) => view.getUint8(at + 2027),
  responsesResumes: (view: DataView, at: number) => view.getUint8(at + 2028),
  responsesFound: (view: DataView, at: number, index: number) => view.getUint32(at + 2032 + index * 4, true),
  responsesFoundCount: 16,
  responsesHead: (view: DataView, at: number) => readBytes(view, at + 2096, 32),
  responsesBuffer: (view: DataView, at: number) => readBytes(view, at + 2128, 144),
  responsesTableInserted: (view: DataView, at: number) => view.getUint32(at + 2272, true),
  responsesTableValues: (view: DataView, at: number, index: number) => view.getUint32(at + 2276 + index * 4, true),
  responsesTableValuesCount: 128,
  responsesTableKinds: (view: DataView, at: number) => readBytes(view, at + 2788, 128),
  open: (view: DataView, at: number, index: number) => view.getUint32(at + 2920 + index * 4, true),
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
