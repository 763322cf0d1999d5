// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';
import { readBytes, readString } from '../layout.ts';

export const FILE = 'packetloss.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'events_enabled' | 'event_rate' | 'jiffies_per_second' | 'no_loss' | 'no_loss_functions' | 'with_stack';

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

/** struct packet_drop_count */
export const packetDropCount = {
  SIZE: 16,
  offsets: { packets: 0, bytes: 8 },
  packets: (view: DataView, at: number) => readCounter(view, at + 0),
  bytes: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct packet_drop_event */
export const packetDropEvent = {
  SIZE: 160,
  offsets: { time: 0, netns: 8, reason: 16, length: 20, tupleSource: 24, tupleDestination: 40, tupleSourcePort: 56, tupleDestinationPort: 58, tupleEthertype: 60, tupleProtocol: 62, tupleFamily: 63, device: 64, symbol: 80 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  reason: (view: DataView, at: number) => view.getUint32(at + 16, true),
  length: (view: DataView, at: number) => view.getUint32(at + 20, true),
  tupleSource: (view: DataView, at: number) => readBytes(view, at + 24, 16),
  tupleDestination: (view: DataView, at: number) => readBytes(view, at + 40, 16),
  tupleSourcePort: (view: DataView, at: number) => view.getUint16(at + 56, true),
  tupleDestinationPort: (view: DataView, at: number) => view.getUint16(at + 58, true),
  tupleEthertype: (view: DataView, at: number) => view.getUint16(at + 60, true),
  tupleProtocol: (view: DataView, at: number) => view.getUint8(at + 62),
  tupleFamily: (view: DataView, at: number) => view.getUint8(at + 63),
  device: (view: DataView, at: number) => readString(view, at + 64, 16),
  symbol: (view: DataView, at: number) => readString(view, at + 80, 80),
} as const;

/** struct packet_drop_key */
export const packetDropKey = {
  SIZE: 16,
  offsets: { netns: 0, reason: 8, ignored: 12 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  reason: (view: DataView, at: number) => view.getUint32(at + 8, true),
  ignored: (view: DataView, at: number) => view.getUint32(at + 12, true),
} as const;

/** struct packet_drop_misses */
export const packetDropMisses = {
  SIZE: 16,
  offsets: { mapFull: 0, noNetns: 8 },
  mapFull: (view: DataView, at: number) => readCounter(view, at + 0),
  noNetns: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct packet_drop_stack_event */
export const packetDropStackEvent = {
  SIZE: 1448,
  offsets: { drop: 0, frames: 160, symbols: 168 },
  frames: (view: DataView, at: number) => readCounter(view, at + 160),
  symbols: (view: DataView, at: number, index: number) => readString(view, at + 168 + index * 80, 80),
  symbolsCount: 16,
} as const;
