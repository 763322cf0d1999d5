// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

export const FILE = 'netdev.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'has_dstats' | 'dstats_words';
  readonly setting: never;
  readonly map: 'percpu_cpus' | 'percpu_anchor' | 'netdev_rows' | 'netdev_kinds' | 'netdev_offsets' | 'netdev_effort_cell';
  readonly program: 'netdev_read';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  netdev_rows: 512,
  netdev_kinds: 64,
  netdev_offsets: 1,
  netdev_effort_cell: 1,
} as const;

/** enum netdev_counter */
export const netdevCounter = {
  rx_bytes: 0,
  rx_packets: 1,
  rx_errors: 2,
  rx_drops: 3,
  rx_fifo: 4,
  rx_frame: 5,
  rx_multicast: 6,
  tx_bytes: 7,
  tx_packets: 8,
  tx_errors: 9,
  tx_drops: 10,
  tx_fifo: 11,
  collisions: 12,
  tx_carrier: 13,
} as const;

/** enum netdev_is */
export const netdevIs = {
  loopback: 1,
  counted: 2,
  linked_outside: 4,
  link_unknown: 8,
} as const;

/** enum netdev_recipe */
export const netdevRecipe = {
  core: 0,
  tun: 1,
  dummy: 2,
  veth: 3,
  netkit: 4,
  vlan: 5,
  ifb: 6,
} as const;

/** struct netdev_effort */
export const netdevEffort = {
  SIZE: 24,
  offsets: { calls: 0, ns: 8, longestNs: 16 },
  calls: (view: DataView, at: number) => readCounter(view, at + 0),
  ns: (view: DataView, at: number) => readCounter(view, at + 8),
  longestNs: (view: DataView, at: number) => readCounter(view, at + 16),
} as const;

/** struct netdev_kind */
export const netdevKind = {
  SIZE: 40,
  offsets: { recipe: 0, peer: 4, dropped: 8, queues: 12, queueBytes: 16, queueRx: 20, queueTx: 24, shares: 28, areErrorsDrops: 32, frameErrors: 36 },
  recipe: (view: DataView, at: number) => view.getUint32(at + 0, true),
  peer: (view: DataView, at: number) => view.getUint32(at + 4, true),
  dropped: (view: DataView, at: number) => view.getUint32(at + 8, true),
  queues: (view: DataView, at: number) => view.getUint32(at + 12, true),
  queueBytes: (view: DataView, at: number) => view.getUint32(at + 16, true),
  queueRx: (view: DataView, at: number) => view.getUint32(at + 20, true),
  queueTx: (view: DataView, at: number) => view.getUint32(at + 24, true),
  shares: (view: DataView, at: number) => view.getUint32(at + 28, true),
  areErrorsDrops: (view: DataView, at: number) => view.getUint32(at + 32, true),
  frameErrors: (view: DataView, at: number) => view.getUint32(at + 36, true),
} as const;

/** struct netdev_kind_name */
export const netdevKindName = {
  SIZE: 16,
  offsets: { text: 0 },
  text: (view: DataView, at: number) => readString(view, at + 0, 16),
} as const;

/** struct netdev_row */
export const netdevRow = {
  SIZE: 168,
  offsets: { cookie: 0, flags: 8, ifindex: 12, is: 16, name: 20, kind: 36, counters: 56 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  ifindex: (view: DataView, at: number) => view.getUint32(at + 12, true),
  is: (view: DataView, at: number) => view.getUint32(at + 16, true),
  name: (view: DataView, at: number) => readBytes(view, at + 20, 16),
  kind: (view: DataView, at: number) => readString(view, at + 36, 16),
  counters: (view: DataView, at: number, index: number) => readCounter(view, at + 56 + index * 8),
  countersCount: 14,
} as const;
