import { notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsIndex } from '../netns.ts';
import { parseSockstat, type Sockstat } from '../procfs/sockstat.ts';
import type { FamilyCounts, SockstatRow } from './snapshot.ts';

/**
 * Reads the socket counts from the files of each namespace. This is slower than the walk, but works on every kernel.
 */
export async function readSockstatFiles(
  netns: NetnsIndex,
  files: NetFiles,
  cycle: Cycle,
): Promise<readonly SockstatRow[]> {
  const rows: SockstatRow[] = [];
  for (const entry of netns.snapshot()) {
    const v4 = files.parse(entry, 'net/sockstat', cycle, parseSockstat);
    if (v4 !== undefined) {
      const v6 = files.parse(entry, 'net/sockstat6', cycle, parseSockstat) ?? new Map();
      rows.push({
        id: entry.id,
        used: count(v4, 'sockets', 'used'),
        timeWait: count(v4, 'TCP', 'tw'),
        ipv4: family(v4, ''),
        ipv6: family(v6, '6'),
      });
    }
    await cycle.pause();
  }
  return rows;
}

function family(stat: Sockstat, suffix: string): FamilyCounts {
  return {
    tcp: count(stat, `TCP${suffix}`, 'inuse'),
    udp: count(stat, `UDP${suffix}`, 'inuse'),
    raw: count(stat, `RAW${suffix}`, 'inuse'),
    fragmentQueues: count(stat, `FRAG${suffix}`, 'inuse'),
    fragmentBytes: count(stat, `FRAG${suffix}`, 'memory'),
  };
}

function count(stat: Sockstat, line: string, name: string) {
  const value = stat.get(line)?.get(name);
  return value === undefined ? undefined : notNegative(value);
}
