// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes } from '../layout.ts';

export const FILE = 'udpflow.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'owner_rows' | 'unlisted_rows' | 'node_netns';
  readonly setting: never;
  readonly map: 'udp_rows' | 'misses' | 'filtered_netns' | 'owners' | 'rows_taken' | 'rows_returned' | 'udp_rest';
  readonly program: 'udp_sent' | 'udp_sent_copied' | 'udp_received' | 'udp_received_copied' | 'udp_leave';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  udp_rows: 16384,
  udp_rest: 1026,
} as const;

/** enum udp_role */
export const udpRole = {
  client: 0,
  server: 1,
} as const;

/** struct udp_key */
export const udpKey = {
  SIZE: 40,
  offsets: { netns: 0, cgroup: 8, peer: 16, port: 32, role: 34, padding: 35 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  cgroup: (view: DataView, at: number) => readCounter(view, at + 8),
  peer: (view: DataView, at: number) => readBytes(view, at + 16, 16),
  port: (view: DataView, at: number) => view.getUint16(at + 32, true),
  role: (view: DataView, at: number) => view.getUint8(at + 34),
  padding: (view: DataView, at: number) => readBytes(view, at + 35, 5),
} as const;

/** struct udp_row */
export const udpRow = {
  SIZE: 40,
  offsets: { sentBytes: 0, receivedBytes: 8, sentDatagrams: 16, receivedDatagrams: 24, leaving: 32 },
  sentBytes: (view: DataView, at: number) => readCounter(view, at + 0),
  receivedBytes: (view: DataView, at: number) => readCounter(view, at + 8),
  sentDatagrams: (view: DataView, at: number) => readCounter(view, at + 16),
  receivedDatagrams: (view: DataView, at: number) => readCounter(view, at + 24),
  leaving: (view: DataView, at: number) => readCounter(view, at + 32),
} as const;
