import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseSnmp, parseSnmp6 } from '#sources/procfs/snmp.ts';
import type { TestPod } from './cgroups.ts';

const SHORT_PODS = fileURLToPath(new URL('./short_pods.py', import.meta.url));
const run = promisify(execFile);

/**
 * Runs a process for a few milliseconds in each Pod, one Pod after the other. Returns the counters that each process
 * read from /proc just before it exited.
 */
export async function liveShortly(pods: readonly TestPod[]): Promise<string[]> {
  const { stdout } = await run('python3', argsOf(pods));
  return JSON.parse(stdout) as string[];
}

/** Does the same, and blocks the event loop meanwhile, so an agent in this process does not drain its rings. */
export function liveShortlySync(pods: readonly TestPod[]): string[] {
  return JSON.parse(execFileSync('python3', argsOf(pods), { encoding: 'utf8' })) as string[];
}

function argsOf(pods: readonly TestPod[]): string[] {
  return [SHORT_PODS, ...pods.flatMap(({ container }, index) => [join(container, 'cgroup.procs'), String(index + 1)])];
}

/**
 * Parses the output for one Pod. Returns a function that looks up a counter by its table and field in the kernel's
 * files.
 */
export function oracleOf(text: string): (table: string, field: string) => number {
  const malformed = (what: string) => {
    throw new Error(`the kernel printed ${what}`);
  };
  const at = text.indexOf('Ip6InReceives');
  const tables = parseSnmp(text.slice(0, at), malformed);
  const tables6 = parseSnmp6(text.slice(at), malformed);
  return (table, field) => {
    const value = tables.get(table)?.get(field) ?? tables6.get(`${table}${field}`);
    if (value === undefined) throw new Error(`no ${table} ${field}`);
    return Number(value);
  };
}

/** Returns the counters that the event `pod_departed` must contain. */
export function totalsOf(text: string): Record<string, number> {
  const of = oracleOf(text);
  return {
    receivedBytes: of('IpExt', 'InOctets') + of('Ip6', 'InOctets'),
    sentBytes: of('IpExt', 'OutOctets') + of('Ip6', 'OutOctets'),
    tcpConnections: of('Tcp', 'ActiveOpens') + of('Tcp', 'PassiveOpens'),
    tcpFailedConnects: of('Tcp', 'AttemptFails'),
    tcpRetransmits: of('Tcp', 'RetransSegs'),
    tcpResetsSent: of('Tcp', 'OutRsts'),
    tcpTimeouts: of('TcpExt', 'TCPTimeouts'),
    tcpListenDrops: of('TcpExt', 'ListenDrops'),
    udpDatagrams: ['Udp', 'Udp6'].reduce((sum, t) => sum + of(t, 'InDatagrams') + of(t, 'OutDatagrams'), 0),
    udpDrops: ['Udp', 'Udp6'].reduce((sum, t) => sum + of(t, 'NoPorts') + of(t, 'InErrors') + of(t, 'SndbufErrors'), 0),
    ipDiscards: ['Ip', 'Ip6'].reduce((sum, t) => sum + of(t, 'InDiscards') + of(t, 'OutDiscards'), 0),
  };
}
