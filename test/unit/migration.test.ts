import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PROBES } from '#probes/index.ts';
import { isSeries } from '../support/descriptors.ts';
import { isLogql } from '../support/logql.ts';
import { lacks } from '../support/programs.ts';
import { checkPromql } from '../support/promtool.ts';

const DOCS = new URL('../../docs/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, DOCS), 'utf8');
const MIGRATION = read('migration.md');

/** All event types of KubeSkoop 1.0. */
const TYPES = [
  ...['BIOLAT_10MS', 'RXKERNEL_SLOW', 'TXKERNEL_SLOW', 'NETIFTXLAT_QDISC', 'NETIFTXLAT_XMIT', 'PacketLoss'],
  ...['SOCKETLAT_READSLOW', 'SOCKETLAT_SENDSLOW', 'TCPRetrans', 'VIRTCMDEXCUTE', 'VIRTCMDEXCUTE_100MS'],
  ...['SOFTIRQ_SCHED_SLOW', 'SOFTIRQ_SCHED_100MS', 'SOFTIRQ_EXCUTE_SLOW', 'SOFTIRQ_EXCUTE_100MS'],
  ...['TCPRESET_NOSOCK', 'TCPRESET_PROCESS', 'TCPRESET_ACTIVE', 'TCPRESET_RECEIVE'],
  ...['New', 'Update', 'Destroy', 'ExpNew', 'ExpDestroy', 'Unknow'].map((name) => `Conntrack${name}`),
];

function blocks(language: string): string[] {
  return [...MIGRATION.matchAll(new RegExp(`^\`\`\`${language}\\n([^\`]*)\`\`\``, 'gm'))].map(([, text = '']) => text);
}

/** Returns the rows of the table whose header row starts with this cell. */
function rowsOf(head: string): string[][] {
  const [, rows = ''] =
    new RegExp(`^\\| ${head} \\|[^\\n]*\\n\\|[ -|]*\\n((?:\\|[^\\n]*\\n)+)`, 'm').exec(MIGRATION) ?? [];
  const lines = rows.trim().split('\n');
  return lines.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('docs/migration.md', () => {
  it.skipIf(lacks('promtool'))('has queries that Prometheus and Loki understand, of existing metrics', () => {
    const queries = blocks('promql');
    expect(queries).toHaveLength(1);
    checkPromql(queries);
    for (const name of queries.flatMap((query) => query.match(/netsonde_\w+/g) ?? []))
      expect(isSeries(name)).toBe(true);
    expect(blocks('logql')).toHaveLength(3);
    for (const query of blocks('logql')) expect(isLogql(query), query).toBe(true);
  });

  it("maps each type of KubeSkoop's events to one of ours", () => {
    const ours = PROBES.flatMap(({ events }) => Object.keys(events));
    const rows = rowsOf('type of KubeSkoop');
    const named = rows.map(([theirs = '', type = '']) => ({
      theirs: [...theirs.matchAll(/`(\w+)`/g)].map(([, name]) => name),
      type: type.replaceAll('`', ''),
    }));
    expect(named.flatMap(({ theirs }) => theirs).sort()).toEqual([...TYPES].sort());
    for (const { type } of named.filter(({ theirs }) => !theirs[0]?.startsWith('Conntrack')))
      expect(ours).toContain(type);
  });

  it.each(['migration.md', 'comparison.md'])('%s links to existing files and sections', (name) => {
    for (const [, path = '', anchor] of read(name).matchAll(/\]\((?!https:)([\w./-]*)(?:#([\w-]+))?\)/g)) {
      const text = readFileSync(new URL(path, DOCS), 'utf8');
      if (anchor === undefined) continue;
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase());
      expect(headings.map((heading) => heading.replaceAll(/[^\w -]/g, '').replaceAll(' ', '-'))).toContain(anchor);
    }
  });
});
