// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.
import { readCounter } from '../../counter.ts';

export const FILE = 'mib.bpf.o';

/** Names of the `const volatile` variables. */
export type Constant = never;

/** struct mib_row */
export const mibRow = {
  SIZE: 3936,
  offsets: { cookie: 0, flags: 8, tables: 12, onceIpSettings: 16, onceIcmpReceived: 32, onceIcmpSent: 184, onceIcmp6ErrorsReceived: 336, onceIcmp6ErrorsSent: 376, onceIcmp6InfosReceived: 416, onceIcmp6InfosSent: 544, values: 672 },
  cookie: (view: DataView, at: number) => readCounter(view, at + 0),
  flags: (view: DataView, at: number) => view.getUint32(at + 8, true),
  tables: (view: DataView, at: number) => view.getUint32(at + 12, true),
  onceIpSettings: (view: DataView, at: number, index: number) => readCounter(view, at + 16 + index * 8),
  onceIpSettingsCount: 2,
  onceIcmpReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 32 + index * 8),
  onceIcmpReceivedCount: 19,
  onceIcmpSent: (view: DataView, at: number, index: number) => readCounter(view, at + 184 + index * 8),
  onceIcmpSentCount: 19,
  onceIcmp6ErrorsReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 336 + index * 8),
  onceIcmp6ErrorsReceivedCount: 5,
  onceIcmp6ErrorsSent: (view: DataView, at: number, index: number) => readCounter(view, at + 376 + index * 8),
  onceIcmp6ErrorsSentCount: 5,
  onceIcmp6InfosReceived: (view: DataView, at: number, index: number) => readCounter(view, at + 416 + index * 8),
  onceIcmp6InfosReceivedCount: 16,
  onceIcmp6InfosSent: (view: DataView, at: number, index: number) => readCounter(view, at + 544 + index * 8),
  onceIcmp6InfosSentCount: 16,
} as const;

/** struct mib_sum */
export const mibSum = {
  SIZE: 96,
  offsets: { tcp: 0, tcpext: 8, udp: 16, udp6: 24, udplite: 32, udplite6: 40, ip: 48, ip6: 56, icmp: 64, icmp6: 72, anchor: 80, row: 88 },
  tcp: (view: DataView, at: number) => readCounter(view, at + 0),
  tcpext: (view: DataView, at: number) => readCounter(view, at + 8),
  udp: (view: DataView, at: number) => readCounter(view, at + 16),
  udp6: (view: DataView, at: number) => readCounter(view, at + 24),
  udplite: (view: DataView, at: number) => readCounter(view, at + 32),
  udplite6: (view: DataView, at: number) => readCounter(view, at + 40),
  ip: (view: DataView, at: number) => readCounter(view, at + 48),
  ip6: (view: DataView, at: number) => readCounter(view, at + 56),
  icmp: (view: DataView, at: number) => readCounter(view, at + 64),
  icmp6: (view: DataView, at: number) => readCounter(view, at + 72),
  anchor: (view: DataView, at: number) => readCounter(view, at + 80),
  row: (view: DataView, at: number) => view.getUint32(at + 88, true),
} as const;

/** struct mib_values */
export const mibValues = {
  SIZE: 3264,
  offsets: { tcp: 0, tcpext: 192, udp: 1536, udp6: 1664, udplite: 1792, udplite6: 1920, ip: 2048, ip6: 2432, icmp: 2816, icmp6: 3136 },
  tcp: (view: DataView, at: number, index: number) => readCounter(view, at + 0 + index * 8),
  tcpCount: 24,
  tcpext: (view: DataView, at: number, index: number) => readCounter(view, at + 192 + index * 8),
  tcpextCount: 168,
  udp: (view: DataView, at: number, index: number) => readCounter(view, at + 1536 + index * 8),
  udpCount: 16,
  udp6: (view: DataView, at: number, index: number) => readCounter(view, at + 1664 + index * 8),
  udp6Count: 16,
  udplite: (view: DataView, at: number, index: number) => readCounter(view, at + 1792 + index * 8),
  udpliteCount: 16,
  udplite6: (view: DataView, at: number, index: number) => readCounter(view, at + 1920 + index * 8),
  udplite6Count: 16,
  ip: (view: DataView, at: number, index: number) => readCounter(view, at + 2048 + index * 8),
  ipCount: 48,
  ip6: (view: DataView, at: number, index: number) => readCounter(view, at + 2432 + index * 8),
  ip6Count: 48,
  icmp: (view: DataView, at: number, index: number) => readCounter(view, at + 2816 + index * 8),
  icmpCount: 40,
  icmp6: (view: DataView, at: number, index: number) => readCounter(view, at + 3136 + index * 8),
  icmp6Count: 16,
} as const;
