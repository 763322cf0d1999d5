// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readBytes, readString } from '../layout.ts';

export const FILE = 'drop_capture.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'timer_bases_at' | 'frees_answered_echo' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'preempt_count_at' | 'not_specified' | 'has_reasons' | 'subsystem_rules' | 'waits_for_udp' | 'receive_buffer' | 'protocol_memory' | 'node_netns' | 'chosen' | 'snap';
  readonly setting: 'event_rate' | 'rules';
  readonly map: 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'scratch' | 'captured' | 'capture_count';
  readonly program: 'capture_udp' | 'capture_pages' | 'capture_socket' | 'capture_reason' | 'capture_plain';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  scratch: 1,
  captured: 16777216,
  capture_count: 1,
} as const;

/** struct capture_counts */
export const captureCounts = {
  SIZE: 16,
  offsets: { sent: 0, lost: 8 },
  sent: (view: DataView, at: number) => readCounter(view, at + 0),
  lost: (view: DataView, at: number) => readCounter(view, at + 8),
} as const;

/** struct captured_drop */
export const capturedDrop = {
  SIZE: 2720,
  offsets: { time: 0, netns: 8, location: 16, reason: 24, length: 28, linear: 32, captured: 36, ifindex: 40, ethertype: 44, hardware: 46, segment: 48, segments: 50, packetType: 52, isWaiting: 53, spare: 54, device: 60, symbol: 76, bytes: 156 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  location: (view: DataView, at: number) => readCounter(view, at + 16),
  reason: (view: DataView, at: number) => view.getUint32(at + 24, true),
  length: (view: DataView, at: number) => view.getUint32(at + 28, true),
  linear: (view: DataView, at: number) => view.getUint32(at + 32, true),
  captured: (view: DataView, at: number) => view.getUint32(at + 36, true),
  ifindex: (view: DataView, at: number) => view.getUint32(at + 40, true),
  ethertype: (view: DataView, at: number) => view.getUint16(at + 44, true),
  hardware: (view: DataView, at: number) => view.getUint16(at + 46, true),
  segment: (view: DataView, at: number) => view.getUint16(at + 48, true),
  segments: (view: DataView, at: number) => view.getUint16(at + 50, true),
  packetType: (view: DataView, at: number) => view.getUint8(at + 52),
  isWaiting: (view: DataView, at: number) => view.getUint8(at + 53),
  spare: (view: DataView, at: number) => readBytes(view, at + 54, 6),
  device: (view: DataView, at: number) => readString(view, at + 60, 16),
  symbol: (view: DataView, at: number) => readString(view, at + 76, 80),
  bytes: (view: DataView, at: number) => readBytes(view, at + 156, 2560),
} as const;
