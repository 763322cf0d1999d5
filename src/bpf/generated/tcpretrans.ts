// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcpretrans.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'owner_rows' | 'unlisted_rows' | 'events_enabled' | 'jiffies_per_second' | 'ring_share';
  readonly setting: 'event_rate' | 'loss_probe_events';
  readonly map: 'filtered_netns' | 'misses' | 'owners' | 'rows_taken' | 'rows_returned' | 'counts' | 'count_rest' | 'event_ledgers' | 'event_buckets' | 'events';
  readonly program: 'tcp_retransmit_error' | 'tcp_retransmit' | 'tcp_retransmit_synack';
}

/** enum retransmit_kind */
export const retransmitKind = {
  rto: 0,
  fast: 1,
  tlp: 2,
  syn: 3,
  synack: 4,
  mtu: 5,
  fastopen: 6,
} as const;

/** struct tcp_retransmit_event */
export const tcpRetransmitEvent = {
  SIZE: 88,
  offsets: { time: 0, netns: 8, tuple: 16, sequence: 56, length: 60, retransmits: 64, needless: 68, srtt: 72, cwnd: 76, kind: 80, state: 81, confirmed: 82, deferred: 83 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  sequence: (view: DataView, at: number) => view.getUint32(at + 56, true),
  length: (view: DataView, at: number) => view.getUint32(at + 60, true),
  retransmits: (view: DataView, at: number) => view.getUint32(at + 64, true),
  needless: (view: DataView, at: number) => view.getUint32(at + 68, true),
  srtt: (view: DataView, at: number) => view.getUint32(at + 72, true),
  cwnd: (view: DataView, at: number) => view.getUint32(at + 76, true),
  kind: (view: DataView, at: number) => view.getUint8(at + 80),
  state: (view: DataView, at: number) => view.getUint8(at + 81),
  confirmed: (view: DataView, at: number) => view.getUint8(at + 82),
  deferred: (view: DataView, at: number) => view.getUint8(at + 83),
} as const;
