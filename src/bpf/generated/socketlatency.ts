// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'socketlatency.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'filtered_netns' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'socket_states' | 'socket_histograms';
  readonly program: 'data_arrived' | 'data_arrived_entry' | 'data_read' | 'data_read_v4_exit' | 'data_read_v6_exit' | 'data_written' | 'data_written_entry' | 'write_goes_on_exit' | 'pages_written_entry' | 'data_sent';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  socket_histograms: 1024,
} as const;

/** enum socket_kind */
export const socketKind = {
  read: 0,
  write: 1,
} as const;

/** struct socket_event */
export const socketEvent = {
  SIZE: 96,
  offsets: { time: 0, netns: 8, delay: 16, kind: 24, waiting: 28, pid: 32, process: 36, tuple: 52 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  delay: (view: DataView, at: number) => readCounter(view, at + 16),
  kind: (view: DataView, at: number) => view.getUint32(at + 24, true),
  waiting: (view: DataView, at: number) => view.getUint32(at + 28, true),
  pid: (view: DataView, at: number) => view.getUint32(at + 32, true),
  process: (view: DataView, at: number) => readString(view, at + 36, 16),
} as const;

/** struct socket_histograms */
export const socketHistograms = {
  SIZE: 432,
  offsets: { read: 0, write: 216 },
} as const;

/** struct socket_state */
export const socketState = {
  SIZE: 80,
  offsets: { readFirst: 0, readSecond: 8, readPosition: 16, readEnd: 20, writeFirst: 24, writeSecond: 32, writePosition: 40, writeEnd: 44, arrived: 48, callEnd: 52, writer: 56, writerName: 60 },
  readFirst: (view: DataView, at: number) => readCounter(view, at + 0),
  readSecond: (view: DataView, at: number) => readCounter(view, at + 8),
  readPosition: (view: DataView, at: number) => view.getUint32(at + 16, true),
  readEnd: (view: DataView, at: number) => view.getUint32(at + 20, true),
  writeFirst: (view: DataView, at: number) => readCounter(view, at + 24),
  writeSecond: (view: DataView, at: number) => readCounter(view, at + 32),
  writePosition: (view: DataView, at: number) => view.getUint32(at + 40, true),
  writeEnd: (view: DataView, at: number) => view.getUint32(at + 44, true),
  arrived: (view: DataView, at: number) => view.getUint32(at + 48, true),
  callEnd: (view: DataView, at: number) => view.getUint32(at + 52, true),
  writer: (view: DataView, at: number) => view.getUint32(at + 56, true),
  writerName: (view: DataView, at: number) => readString(view, at + 60, 16),
} as const;
