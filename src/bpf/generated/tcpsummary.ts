// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'tcpsummary.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'ports_each' | 'listeners_each' | 'buckets_each' | 'can_cast' | 'node_netns' | 'has_flow_rows' | 'closed_late';
  readonly setting: never;
  readonly map: 'tcp_progress_cell' | 'flow_rows' | 'owners' | 'tcp_rows' | 'tcp_accept_queues' | 'tcp_listeners' | 'tcp_shares' | 'flow_log' | 'flow_log_head' | 'flow_log_tail' | 'flow_rest' | 'flow_rest_used' | 'flow_taken' | 'flow_allowed' | 'flow_log_shares';
  readonly program: 'tcp_count' | 'flow_evict';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  tcp_progress_cell: 1,
  tcp_rows: 256,
  tcp_accept_queues: 1024,
  tcp_listeners: 1024,
  tcp_shares: 1026,
} as const;

/** enum tcp_rows_wanted */
export const tcpRowsWanted = {
  flows: 1,
  listens: 2,
  round_trips: 4,
} as const;

/** enum tcp_states */
export const tcpStates = {
  with_queues: 2866,
} as const;

/** struct tcp_accept_queue */
export const tcpAcceptQueue = {
  SIZE: 24,
  offsets: { walk: 0, length: 4, limit: 8, fullestLength: 16, fullestLimit: 20 },
  walk: (view: DataView, at: number) => view.getUint32(at + 0, true),
  length: (view: DataView, at: number) => view.getUint32(at + 4, true),
  limit: (view: DataView, at: number) => readCounter(view, at + 8),
  fullestLength: (view: DataView, at: number) => view.getUint32(at + 16, true),
  fullestLimit: (view: DataView, at: number) => view.getUint32(at + 20, true),
} as const;

/** struct tcp_listener */
export const tcpListener = {
  SIZE: 56,
  offsets: { netns: 0, cgroup: 8, walk: 16, drops: 20, length: 24, limit: 28, port: 32, family: 36, address: 40 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  walk: (view: DataView, at: number) => view.getUint32(at + 16, true),
  drops: (view: DataView, at: number) => view.getUint32(at + 20, true),
  length: (view: DataView, at: number) => view.getUint32(at + 24, true),
  limit: (view: DataView, at: number) => view.getUint32(at + 28, true),
  port: (view: DataView, at: number) => view.getUint32(at + 32, true),
  family: (view: DataView, at: number) => view.getUint32(at + 36, true),
  address: (view: DataView, at: number) => readBytes(view, at + 40, 16),
} as const;

/** struct tcp_port */
export const tcpPort = {
  SIZE: 16,
  offsets: { netns: 0, port: 8 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  port: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct tcp_progress */
export const tcpProgress = {
  SIZE: 88,
  offsets: { connectionsWalk: 0, connectionsBucket: 4, connectionsCounted: 8, connectionsDone: 12, listenersWalk: 16, listenersBucket: 20, listenersCounted: 24, listenersDone: 28, walk: 32, sockets: 36, rowsFull: 40, acceptQueuesFull: 44, acceptQueuesLeft: 48, hashesLeft: 52, listenersFull: 56, strayed: 60, flowsLeft: 64, unreadable: 68, longest: 72, total: 80 },
  connectionsWalk: (view: DataView, at: number) => view.getUint32(at + 0, true),
  connectionsBucket: (view: DataView, at: number) => view.getUint32(at + 4, true),
  connectionsCounted: (view: DataView, at: number) => view.getUint32(at + 8, true),
  connectionsDone: (view: DataView, at: number) => view.getUint32(at + 12, true),
  listenersWalk: (view: DataView, at: number) => view.getUint32(at + 16, true),
  listenersBucket: (view: DataView, at: number) => view.getUint32(at + 20, true),
  listenersCounted: (view: DataView, at: number) => view.getUint32(at + 24, true),
  listenersDone: (view: DataView, at: number) => view.getUint32(at + 28, true),
  walk: (view: DataView, at: number) => view.getUint32(at + 32, true),
  sockets: (view: DataView, at: number) => view.getUint32(at + 36, true),
  rowsFull: (view: DataView, at: number) => view.getUint32(at + 40, true),
  acceptQueuesFull: (view: DataView, at: number) => view.getUint32(at + 44, true),
  acceptQueuesLeft: (view: DataView, at: number) => view.getUint32(at + 48, true),
  hashesLeft: (view: DataView, at: number) => view.getUint32(at + 52, true),
  listenersFull: (view: DataView, at: number) => view.getUint32(at + 56, true),
  strayed: (view: DataView, at: number) => view.getUint32(at + 60, true),
  flowsLeft: (view: DataView, at: number) => view.getUint32(at + 64, true),
  unreadable: (view: DataView, at: number) => view.getUint32(at + 68, true),
  longest: (view: DataView, at: number) => readCounter(view, at + 72),
  total: (view: DataView, at: number) => readCounter(view, at + 80),
} as const;

/** struct tcp_row */
export const tcpRow = {
  SIZE: 112,
  offsets: { ownWalk: 0, ownBucket: 4, ownCounted: 8, ownDone: 12, walk: 16, left: 20, sockets: 24, largestReceiveQueue: 88, largestSendQueue: 92, receiveQueue: 96, sendQueue: 104 },
  ownWalk: (view: DataView, at: number) => view.getUint32(at + 0, true),
  ownBucket: (view: DataView, at: number) => view.getUint32(at + 4, true),
  ownCounted: (view: DataView, at: number) => view.getUint32(at + 8, true),
  ownDone: (view: DataView, at: number) => view.getUint32(at + 12, true),
  walk: (view: DataView, at: number) => view.getUint32(at + 16, true),
  left: (view: DataView, at: number) => view.getUint32(at + 20, true),
  sockets: (view: DataView, at: number, index: number) => view.getUint32(at + 24 + index * 4, true),
  socketsCount: 16,
  largestReceiveQueue: (view: DataView, at: number) => view.getUint32(at + 88, true),
  largestSendQueue: (view: DataView, at: number) => view.getUint32(at + 92, true),
  receiveQueue: (view: DataView, at: number) => readCounter(view, at + 96),
  sendQueue: (view: DataView, at: number) => readCounter(view, at + 104),
} as const;

/** struct tcp_share */
export const tcpShare = {
  SIZE: 12,
  offsets: { walk: 0, taken: 4, buckets: 8 },
  walk: (view: DataView, at: number) => view.getUint32(at + 0, true),
  taken: (view: DataView, at: number) => view.getUint32(at + 4, true),
  buckets: (view: DataView, at: number) => view.getUint32(at + 8, true),
} as const;
