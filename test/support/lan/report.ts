import type { EventRecord } from '#api/events.ts';
import { run } from '../command.ts';
import type { LanHost } from './lan.ts';
import type { Servers } from './servers.ts';
import type { Traffic } from './traffic.ts';
import type { Watch } from './watch.ts';

/** The kernel's counters of connections, segments and lost segments. */
const COUNTERS = [
  ...['TcpActiveOpens', 'TcpInSegs', 'TcpOutSegs', 'TcpRetransSegs', 'TcpExtTCPTimeouts', 'TcpExtTCPLossProbes'],
  ...[
    'TcpExtTCPLossProbeRecovery',
    'TcpExtTCPDSACKRecv',
    'TcpExtListenDrops',
    'UdpInDatagrams',
    'UdpInErrors',
    'UdpNoPorts',
  ],
  ...['IpReasmFails', 'IpInDiscards', 'IpOutDiscards', 'Ip6InDiscards', 'Ip6OutDiscards'],
];

/** Returns a summary of the applications' results, the events and the counters. */
export async function report(
  watch: Watch,
  traffic: Traffic,
  servers: Servers,
  hosts: readonly LanHost[],
): Promise<object> {
  const registry: unknown = JSON.parse(await servers.registry.ask('figures'));
  return {
    namespaces: hosts.length,
    applications: Object.fromEntries(
      [...traffic.figures].map(([app, figures]) => [app, { ...figures, errors: figures.errors.length }]),
    ),
    registry,
    errors: traffic.errors.slice(0, 20),
    kernel: kernelCounters(hosts),
    drops: watch.totals('netsonde_packet_drops_total', 'reason'),
    discards: watch.totals('netsonde_packet_discards_total', 'class'),
    retransmits: watch.totals('netsonde_tcp_retransmits_total', 'kind'),
    warnings: tally(watch.warnings),
  };
}

function kernelCounters(hosts: readonly LanHost[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { name } of hosts) {
    const { kernel } = JSON.parse(run('ip', 'netns', 'exec', name, 'nstat', '-asz', '-j')) as {
      kernel: Record<string, number>;
    };
    for (const counter of COUNTERS) sums[counter] = (sums[counter] ?? 0) + (kernel[counter] ?? 0);
  }
  return sums;
}

/** Returns the number of events of each kind, with the first event as an example. */
export function tally(events: readonly EventRecord[]): Record<string, { count: number; example: EventRecord }> {
  const found: Record<string, { count: number; example: EventRecord }> = {};
  for (const event of events) {
    const { type, kind, reason, direction, state, symbol } = event as EventRecord & Record<string, string | undefined>;
    const parts = [type, kind, direction, reason, state, symbol?.split('+')[0]];
    const key = parts.filter((part) => part !== undefined).join(' ');
    found[key] ??= { count: 0, example: event };
    found[key].count += event.count ?? 1;
  }
  return found;
}
