// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '#core/counter.ts';

export const FILE = 'tcpretrans.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = 'aimed' | 'events_enabled' | 'event_rate' | 'jiffies_per_second';

/** struct tcp_retransmit_event */
export const tcpRetransmitEvent = {
  SIZE: 80,
  offsets: { time: 0, netns: 8, tuple: 16, sequence: 56, retransmits: 60, srtt: 64, cwnd: 68, kind: 72, state: 73 },
  time: (view: DataView, at: number) => readCounter(view, at + 0),
  netns: (view: DataView, at: number) => readCounter(view, at + 8),
  sequence: (view: DataView, at: number) => view.getUint32(at + 56, true),
  retransmits: (view: DataView, at: number) => view.getUint32(at + 60, true),
  srtt: (view: DataView, at: number) => view.getUint32(at + 64, true),
  cwnd: (view: DataView, at: number) => view.getUint32(at + 68, true),
  kind: (view: DataView, at: number) => view.getUint8(at + 72),
  state: (view: DataView, at: number) => view.getUint8(at + 73),
} as const;
