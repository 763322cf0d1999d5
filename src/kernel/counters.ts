import type { CountersReport } from '#api/counters.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { Entity } from '#pods/entity.ts';
import type { MibSource } from '#sources/mib/source.ts';
import type { NetFiles } from '#sources/net_files.ts';
import type { NetnsIndex } from '#sources/netns.ts';
import { parseConntrackStat } from '#sources/procfs/conntrack_stat.ts';

/** Owner of network namespaces, by the labels of its metrics. Both are empty for the node. */
export interface CountersSelection {
  readonly namespace: string;
  readonly pod: string;
}

export interface CountersPlaces {
  readonly entities: Iterable<Entity>;
  readonly registry: Pick<NetnsIndex, 'snapshot'>;
  readonly mib: Pick<MibSource, 'readOne'>;
  readonly files: Pick<NetFiles, 'parse'>;
}

/** File with the counters of connection tracking, which are shown as a table of this name. */
const CONNTRACK = { file: 'net/stat/nf_conntrack', table: 'Conntrack' } as const;

/** Reads the counters of the network namespaces of a live entity. */
export function readCounters(
  { entities, registry, mib, files }: CountersPlaces,
  { namespace, pod }: CountersSelection,
  cycle: Cycle,
): CountersReport {
  const owned = [...entities].filter(
    (entity) => entity.namespace === namespace && entity.pod === pod && entity.isRetired !== true,
  );
  const ids = new Set(owned.map(({ netns, sharedNetns }) => sharedNetns ?? netns));
  const namespaces = registry
    .snapshot()
    .filter(({ id }) => ids.has(id))
    .map((entry) => {
      const tracking = files.parse(entry, CONNTRACK.file, cycle, parseConntrackStat) ?? new Map();
      const tables = tablesOf([...mib.readOne(entry, cycle), [CONNTRACK.table, tracking]]);
      return { netns: String(entry.id), tables };
    });
  return { read: new Date().toISOString(), namespaces };
}

function tablesOf(
  row: Iterable<readonly [string, ReadonlyMap<string, Counter>]>,
): Record<string, Record<string, number>> {
  const tables: Record<string, Record<string, number>> = {};
  for (const [table, fields] of row) {
    if (fields.size > 0) {
      tables[table] = Object.fromEntries([...fields].map(([field, value]) => [field, Number(value)]));
    }
  }
  return tables;
}
