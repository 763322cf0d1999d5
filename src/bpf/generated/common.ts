// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';
import { readBytes, readString } from '../layout.ts';

/** struct count_key */
export const countKey = {
  SIZE: 16,
  offsets: { netns: 0, reason: 8, side: 12 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  reason: (view: DataView, at: number) => view.getUint32(at + 8, true),
  side: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct count_misses */
export const countMisses = {
  SIZE: 16,
  offsets: { mapFull: 0, noNetns: 8 },
  mapFull: (view: DataView, at: number) => readCounter(view, at + 0),
  noNetns: (view: DataView, at: number) => readCounter(view, at + 8),
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
  SIZE: 16,
  offsets: { refilled: 0, tokens: 8 },
  refilled: (view: DataView, at: number) => readCounter(view, at + 0),
  tokens: (view: DataView, at: number) => readCounter(view, at + 8),
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
