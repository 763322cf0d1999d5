// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

export const FILE = 'packetloss.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'owner_rows' | 'unlisted_rows' | 'timer_bases_at' | 'frees_answered_echo' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'preempt_count_at' | 'not_specified' | 'has_reasons' | 'subsystem_rules' | 'waits_for_udp' | 'receive_buffer' | 'protocol_memory' | 'node_netns' | 'with_stack';
  readonly setting: 'event_rate' | 'rules' | 'with_tunnels' | 'vxlan_ports';
  readonly map: 'filtered_netns' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events' | 'waiting_drops';
  readonly program: 'packet_drop_udp' | 'packet_drop_socket' | 'packet_drop_reason' | 'packet_drop';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  waiting_drops: 1,
} as const;

/** enum drop_rest */
export const dropRest = {
  lost: 0,
  discarded: 1,
} as const;

/** enum drop_side */
export const dropSide = {
  lost: 0,
  discarded: 1,
} as const;

/** enum tracked_sender */
export const trackedSender = {
  none: 0,
  client: 1,
  server: 2,
} as const;

/** enum tunnel_kind */
export const tunnelKind = {
  none: 0,
  vxlan: 1,
  geneve: 2,
  ipip: 3,
  ip6: 4,
  gre: 5,
} as const;

/** enum tunnel_limit */
export const tunnelLimit = {
  vxlan_ports: 4,
} as const;

/** struct packet_drop_event */
export const packetDropEvent = {
  SIZE: 336,
  offsets: { time: 0, netns: 8, location: 16, reason: 24, length: 28, tuple: 32, tunnel: 72, connection: 120, process: 208, device: 240, symbol: 256 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  location: (view: DataView, at: number) => readCounter(view, at + 16),
  reason: (view: DataView, at: number) => view.getUint32(at + 24, true),
  length: (view: DataView, at: number) => view.getUint32(at + 28, true),
  device: (view: DataView, at: number) => readString(view, at + 240, 16),
  symbol: (view: DataView, at: number) => readString(view, at + 256, 80),
} as const;

/** struct packet_drop_stack_event */
export const packetDropStackEvent = {
  SIZE: 1752,
  offsets: { drop: 0, frames: 336, addresses: 344, symbols: 472 },
  frames: (view: DataView, at: number) => readCounter(view, at + 336),
  addresses: (view: DataView, at: number, index: number) => readCounter(view, at + 344 + index * 8),
  addressesCount: 16,
  symbols: (view: DataView, at: number, index: number) => readString(view, at + 472 + index * 80, 80),
  symbolsCount: 16,
} as const;

/** struct packet_tunnel */
export const packetTunnel = {
  SIZE: 48,
  offsets: { inner: 0, id: 40, kind: 44, hasId: 45, spare: 46 },
  id: (view: DataView, at: number) => view.getUint32(at + 40, true),
  kind: (view: DataView, at: number) => view.getUint8(at + 44),
  hasId: (view: DataView, at: number) => view.getUint8(at + 45),
  spare: (view: DataView, at: number) => readBytes(view, at + 46, 2),
} as const;

/** struct tracked_connection */
export const trackedConnection = {
  SIZE: 88,
  offsets: { original: 0, reply: 40, sender: 80, spare: 81 },
  sender: (view: DataView, at: number) => view.getUint8(at + 80),
  spare: (view: DataView, at: number) => readBytes(view, at + 81, 7),
} as const;

/** struct waiting_drop */
export const waitingDrop = {
  SIZE: 360,
  offsets: { isWaiting: 0, key: 8, event: 24 },
  isWaiting: (view: DataView, at: number) => readCounter(view, at + 0),
} as const;
