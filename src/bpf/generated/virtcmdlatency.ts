// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'virtcmdlatency.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'node_netns';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'virtio_commands' | 'virtio_histograms';
  readonly program: 'command_entry' | 'command_exit' | 'command_probe' | 'command_return' | 'command_reply_entry' | 'command_reply_exit' | 'command_reply_probe' | 'command_reply_return';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  virtio_commands: 1024,
  virtio_histograms: 1,
} as const;

/** struct virtio_command */
export const virtioCommand = {
  SIZE: 24,
  offsets: { begun: 0, driver: 8, class: 16, command: 17 },
  begun: (view: DataView, at: number) => readCounter(view, at + 0),
  driver: (view: DataView, at: number) => readCounter(view, at + 8),
  class: (view: DataView, at: number) => view.getUint8(at + 16),
  command: (view: DataView, at: number) => view.getUint8(at + 17),
} as const;

/** struct virtio_event */
export const virtioEvent = {
  SIZE: 56,
  offsets: { time: 0, delay: 8, pid: 16, class: 20, command: 21, device: 22, process: 38 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  delay: (view: DataView, at: number) => readCounter(view, at + 8),
  pid: (view: DataView, at: number) => view.getUint32(at + 16, true),
  class: (view: DataView, at: number) => view.getUint8(at + 20),
  command: (view: DataView, at: number) => view.getUint8(at + 21),
  device: (view: DataView, at: number) => readString(view, at + 22, 16),
  process: (view: DataView, at: number) => readString(view, at + 38, 16),
} as const;
