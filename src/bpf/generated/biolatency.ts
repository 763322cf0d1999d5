// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';
import { readString } from '../layout.ts';

export const FILE = 'biolatency.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'node_netns';
  readonly setting: 'event_rate' | 'threshold';
  readonly map: 'filtered_netns' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'block_histograms' | 'block_requests';
  readonly program: 'block_io_start' | 'block_rq_issue' | 'block_rq_issue_queue' | 'block_rq_complete';
}

/** Number of entries of each map, or size of a ring in bytes, as in the object file. */
export const MAX_ENTRIES = {
  block_histograms: 2048,
  block_requests: 16384,
} as const;

/** enum block_operation */
export const blockOperation = {
  read: 0,
  write: 1,
  flush: 2,
  discard: 3,
  other: 4,
} as const;

/** struct block_event */
export const blockEvent = {
  SIZE: 88,
  offsets: { time: 0, delay: 8, key: 16, bytes: 64, pid: 68, process: 72 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  delay: (view: DataView, at: number) => readCounter(view, at + 8),
  bytes: (view: DataView, at: number) => view.getUint32(at + 64, true),
  pid: (view: DataView, at: number) => view.getUint32(at + 68, true),
  process: (view: DataView, at: number) => readString(view, at + 72, 16),
} as const;

/** struct block_key */
export const blockKey = {
  SIZE: 48,
  offsets: { netns: 0, operation: 8, unused: 12, device: 16 },
  netns: (view: DataView, at: number) => readCounter(view, at + 0),
  operation: (view: DataView, at: number) => view.getUint32(at + 8, true),
  unused: (view: DataView, at: number) => view.getUint32(at + 12, true),
  device: (view: DataView, at: number) => readString(view, at + 16, 32),
} as const;

/** struct block_request */
export const blockRequest = {
  SIZE: 40,
  offsets: { issued: 0, netns: 8, pid: 16, bytes: 20, process: 24 },
  issued: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  pid: (view: DataView, at: number) => view.getUint32(at + 16, true),
  bytes: (view: DataView, at: number) => view.getUint32(at + 20, true),
  process: (view: DataView, at: number) => readString(view, at + 24, 16),
} as const;
