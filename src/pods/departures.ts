import type { Counter } from '#core/counter.ts';
import { formatDuration } from '#core/duration.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import type { NetnsDeparture } from '#probe/life.ts';
import { lastValue } from '#sources/mib/last.ts';
import type { MibIndex, MibTable } from '#sources/mib/tables.ts';

/** Final counters of a namespace. Each counter is the sum of the listed SNMP fields. */
const TOTALS = {
  receivedBytes: {
    help: 'Bytes received by IP.',
    fields: [
      ['IpExt', 'InOctets'],
      ['Ip6', 'InOctets'],
    ],
  },
  sentBytes: {
    help: 'Bytes sent by IP.',
    fields: [
      ['IpExt', 'OutOctets'],
      ['Ip6', 'OutOctets'],
    ],
  },
  tcpConnections: {
    help: 'TCP connections, opened and accepted.',
    fields: [
      ['Tcp', 'ActiveOpens'],
      ['Tcp', 'PassiveOpens'],
    ],
  },
  tcpFailedConnects: {
    help: 'TCP connections that were refused or abandoned before they were established.',
    fields: [['Tcp', 'AttemptFails']],
  },
  tcpRetransmits: { help: 'TCP segments that were retransmitted.', fields: [['Tcp', 'RetransSegs']] },
  tcpTimeouts: { help: 'TCP retransmission timeouts.', fields: [['TcpExt', 'TCPTimeouts']] },
  tcpResetsSent: { help: 'TCP resets sent.', fields: [['Tcp', 'OutRsts']] },
  tcpConnectionsReset: {
    help: 'Established TCP connections that were reset, by either side.',
    fields: [['Tcp', 'EstabResets']],
  },
  tcpListenDrops: {
    help: 'TCP connections that a listening socket dropped, because of a full queue or another reason.',
    fields: [['TcpExt', 'ListenDrops']],
  },
  udpDatagrams: {
    help: 'UDP datagrams that were received and sent.',
    fields: [
      ['Udp', 'InDatagrams'],
      ['Udp', 'OutDatagrams'],
      ['Udp6', 'InDatagrams'],
      ['Udp6', 'OutDatagrams'],
    ],
  },
  udpDrops: {
    help: 'UDP datagrams that could not be sent, or were dropped because no socket listened or its buffer was full.',
    fields: [
      ['Udp', 'NoPorts'],
      ['Udp', 'InErrors'],
      ['Udp', 'SndbufErrors'],
      ['Udp6', 'NoPorts'],
      ['Udp6', 'InErrors'],
      ['Udp6', 'SndbufErrors'],
    ],
  },
  ipDiscards: {
    help: 'Valid IP packets that were discarded, both received and to be sent.',
    fields: [
      ['Ip', 'InDiscards'],
      ['Ip', 'OutDiscards'],
      ['Ip6', 'InDiscards'],
      ['Ip6', 'OutDiscards'],
    ],
  },
} as const satisfies Readonly<Record<string, { help: string; fields: readonly (readonly [MibTable, string])[] }>>;

type TotalName = keyof typeof TOTALS;
export type Totals = Partial<Record<TotalName, number>>;

type TotalFields = { readonly [K in TotalName]: { type: 'number'; help: string; optional: true } };

function totalFields(): TotalFields {
  const entries = Object.entries(TOTALS).map(([name, { help }]) => [name, { type: 'number', help, optional: true }]);
  return Object.fromEntries(entries) as TotalFields;
}

export const DEPARTURE_EVENTS = defineEvents({
  pod_departed: {
    help: 'A Pod, a container or a named network namespace has ended. The event has its final counters if the kernel reported them.',
    severity: 'info',
    equalBy: ['uid'],
    fields: {
      kind: { type: 'string', help: 'Kind of the departed entity: pod, container or netns.' },
      uid: { type: 'string', help: 'Pod UID or container ID.', optional: true },
      livedSeconds: {
        type: 'number',
        help: 'Lifetime in seconds, counted from the start of its oldest known process.',
        optional: true,
      },
      ...totalFields(),
    },
  },
});

type DepartureEvent = EventBody<(typeof DEPARTURE_EVENTS)['pod_departed']>;

/**
 * Returns the totals in a row of counters that the BPF program copied. A field that this kernel does not have counts as
 * 0.
 */
export function totalsOf(index: MibIndex, row: Uint8Array): Totals {
  const totals: Totals = {};
  for (const [name, { fields }] of Object.entries(TOTALS)) {
    const values = fields.map(([table, field]) => lastValue(index, row, table, field));
    const known = values.filter((value): value is Counter => value !== undefined);
    if (known.length > 0) totals[name as TotalName] = known.reduce<number>((sum, value) => sum + Number(value), 0);
  }
  return totals;
}

export interface End {
  /** Time of the destruction in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** Time of the destruction in seconds since boot. */
  readonly bootSeconds: number;
  /** Final counters; undefined if the kernel has not reported them. */
  readonly totals: Totals | undefined;
}

const NANOSECONDS_PER_SECOND = 1e9;

export function departureEvent({ id, kind, uid, startSeconds }: NetnsDeparture, end: End): DepartureEvent {
  const lived = startSeconds === undefined ? undefined : Math.max(0, end.bootSeconds - startSeconds);
  return {
    timeNs: end.timeNs,
    netns: id,
    fields: {
      kind,
      ...(uid === '' ? {} : { uid }),
      ...(lived === undefined ? {} : { livedSeconds: Number(lived.toFixed(3)) }),
      ...end.totals,
    },
    message: describeDeparture(kind, lived, end.totals),
  };
}

const TROUBLES: readonly (readonly [TotalName, string])[] = [
  ['tcpRetransmits', 'TCP segments retransmitted'],
  ['tcpFailedConnects', 'TCP connections failed'],
  ['tcpConnectionsReset', 'TCP connections reset'],
  ['tcpListenDrops', 'TCP connections dropped by listening sockets'],
  ['udpDrops', 'UDP datagrams dropped'],
  ['ipDiscards', 'IP packets discarded'],
];

/** Returns the message of the event. */
function describeDeparture(kind: string, lived: number | undefined, totals: Totals | undefined): string {
  const what = { pod: 'The Pod', container: 'The container' }[kind] ?? 'The network namespace';
  const after = lived === undefined ? '' : ` after ${formatDuration(lived * NANOSECONDS_PER_SECOND)}`;
  if (totals === undefined) return `${what} ended${after}. Its last counters are unknown.`;
  const troubles = TROUBLES.filter(([name]) => (totals[name] ?? 0) > 0).map(
    ([name, text]) => `${totals[name]} ${text}`,
  );
  const { receivedBytes = 0, sentBytes = 0 } = totals;
  return `${what} ended${after}. It received ${receivedBytes} bytes and sent ${sentBytes}; ${troubles.length === 0 ? 'no losses were counted' : troubles.join(', ')}.`;
}
