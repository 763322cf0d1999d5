import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseHexCounter } from './number.ts';

/** IPVS totals of one network namespace, over all virtual services for IPv4 and IPv6. */
export interface IpVsStats {
  readonly connections: Counter;
  readonly receivedPackets: Counter;
  readonly sentPackets: Counter;
  readonly receivedBytes: Counter;
  readonly sentBytes: Counter;
}

/** Second line of the file, which contains the column headings. */
const HEADINGS = 'Conns Packets Packets Bytes Bytes';

/**
 * Parses net/ip_vs_stats, which has two lines of headings, followed by the totals in hexadecimal and the rates. Kernel:
 * net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_stats_show(). Byte counters have 64 bits. Connection and packet counters have
 * 64 bits since 4.1; before, they had 32 bits.
 * @returns undefined if the totals are truncated or malformed, or the headings differ
 */
export function parseIpVsStats(text: string, malformed: Malformed): IpVsStats | undefined {
  const [, headings = '', totals = ''] = wholeLines(text, malformed);
  const stats = cellsOf(headings).join(' ') === HEADINGS ? parseTotals(totals) : undefined;
  if (stats === undefined) malformed(`the headings ${shown(headings)} or the totals ${shown(totals)}`);
  return stats;
}

function parseTotals(line: string): IpVsStats | undefined {
  const cells = cellsOf(line);
  const [connections, receivedPackets, sentPackets, receivedBytes, sentBytes] = cells.map(parseHexCounter);
  if (cells.length !== 5 || connections === undefined) return undefined;
  if (receivedPackets === undefined || sentPackets === undefined) return undefined;
  if (receivedBytes === undefined || sentBytes === undefined) return undefined;
  return { connections, receivedPackets, sentPackets, receivedBytes, sentBytes };
}

function cellsOf(line: string): string[] {
  return line.trim().split(/\s+/);
}
