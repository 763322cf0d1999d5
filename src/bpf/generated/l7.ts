// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'l7.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'owner_rows' | 'unlisted_rows' | 'node_netns' | 'no_bytes';
  readonly setting: never;
  readonly map: 'request_rows' | 'l7_connections' | 'l7_kept' | 'l7_again_sent' | 'l7_again_received' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'request_taken' | 'request_returned' | 'request_wanted' | 'l7_orders' | 'l7_kept_taken' | 'l7_early' | 'l7_early_seen' | 'l7_wanted' | 'l7_live' | 'l7_live_taken' | 'l7_rows' | 'l7_on_sent' | 'l7_on_received';
  readonly program: 'l7_sent' | 'l7_more_sent' | 'l7_received' | 'l7_more_received' | 'l7_closed' | 'request_leave';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  l7_kept_taken: 1026,
  l7_early: 512,
  l7_early_seen: 1,
  l7_wanted: 1,
  l7_live: 1,
  l7_live_taken: 1026,
  l7_rows: 4096,
  l7_on_sent: 16,
  l7_on_received: 16,
} as const;

/** enum l7_count */
export const l7Count = {
  late: 0,
  refused: 1,
  gaps: 2,
  kept: 3,
  not_kept: 4,
  early: 5,
} as const;

/** struct l7_early */
export const l7Early = {
  SIZE: 2072,
  offsets: { seq: 0, length: 4, ack: 8, padding: 12, time: 16, bytes: 24 },
  seq: (view: DataView, at: number) => view.getUint32(at + 0, true),
  length: (view: DataView, at: number) => view.getUint32(at + 4, true),
  ack: (view: DataView, at: number) => view.getUint32(at + 8, true),
  padding: (view: DataView, at: number) => view.getUint32(at + 12, true),
  time: (view: DataView, at: number) => readCounter(view, at + 16),
  bytes: (view: DataView, at: number) => readBytes(view, at + 24, 2048),
} as const;

/** struct l7_early_key */
export const l7EarlyKey = {
  SIZE: 48,
  offsets: { netns: 0, peer: 8, local: 24, peerPort: 40, localPort: 42, part: 44 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  peer: (view: DataView, at: number) => readBytes(view, at + 8, 16),
  local: (view: DataView, at: number) => readBytes(view, at + 24, 16),
  peerPort: (view: DataView, at: number) => view.getUint16(at + 40, true),
  localPort: (view: DataView, at: number) => view.getUint16(at + 42, true),
  part: (view: DataView, at: number) => view.getUint32(at + 44, true),
} as const;

/** struct l7_order */
export const l7Order = {
  SIZE: 144,
  offsets: { cookie: 0, now: 8, done: 16, owner: 20, seqs: 24, ends: 84 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  now: (view: DataView, at: number) => readCounter(view, at + 8),
  done: (view: DataView, at: number) => view.getUint32(at + 16, true),
  owner: (view: DataView, at: number) => view.getUint32(at + 20, true),
  seqs: (view: DataView, at: number, index: number) => view.getUint32(at + 24 + index * 4, true),
  seqsCount: 15,
  ends: (view: DataView, at: number, index: number) => view.getUint32(at + 84 + index * 4, true),
  endsCount: 15,
} as const;

/** struct l7_row */
export const l7Row = {
  SIZE: 176,
  offsets: { connections: 0, counts: 128 },
  connections: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  connectionsCount: 16,
  counts: (view: DataView, at: number, index: number) => readCounter(view, at + 128 + index * 8),
  countsCount: 6,
} as const;

/** struct l7_wanted */
export const l7Wanted = {
  SIZE: 16,
  offsets: { protocols: 0, padding: 4, connections: 8 },
  protocols: (view: DataView, at: number) => view.getUint32(at + 0, true),
  padding: (view: DataView, at: number) => view.getUint32(at + 4, true),
  connections: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;
