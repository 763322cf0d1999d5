import { renderTable } from '#commands/table.ts';
import { benchConntrack } from './conntrack.ts';
import { benchEdges } from './edges.ts';
import { benchEvents } from './events.ts';
import { benchExposition } from './exposition.ts';
import { benchFootprint } from './footprint.ts';
import { benchKernel } from './kernel.ts';
import type { Row } from './measure.ts';
import { benchMemory } from './memory.ts';
import { benchMib } from './mib.ts';
import { benchPods } from './pods.ts';
import { benchProcesses } from './processes.ts';
import { benchRing } from './ring.ts';
import { benchScrape } from './scrape.ts';
import { benchSizing } from './sizing.ts';
import { benchTcpsummary } from './tcpsummary.ts';

/** `npm run bench`: all of them; `npm run bench -- mib exposition`: these. Prints a table, then the same as JSON. */

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  mib: benchMib,
  pods: benchPods,
  conntrack: benchConntrack,
  tcpsummary: benchTcpsummary,
  scrape: benchScrape,
  processes: benchProcesses,
  exposition: benchExposition,
  edges: benchEdges,
  ring: benchRing,
  events: benchEvents,
  footprint: benchFootprint,
  memory: benchMemory,
  kernel: benchKernel,
  sizing: benchSizing,
};

function verdict({ value, bound }: Row): string {
  if (bound?.atMost !== undefined)
    return value <= bound.atMost ? `ok, at most ${bound.atMost}` : `MISSED, at most ${bound.atMost}`;
  if (bound?.atLeast !== undefined)
    return value >= bound.atLeast ? `ok, at least ${bound.atLeast}` : `MISSED, at least ${bound.atLeast}`;
  return '';
}

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !(name in BENCHES));
if (unknown !== undefined) throw new Error(`no bench ${unknown}; there are ${Object.keys(BENCHES).join(', ')}`);
const rows: Row[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`bench: ${name}\n`);
  rows.push(...(await bench()));
}
const cells = rows.map((row) => [row.bench, row.what, `${row.value.toFixed(2)} ${row.unit}`.trim(), verdict(row)]);
process.stdout.write(`${renderTable([['BENCH', 'WHAT', 'VALUE', 'ASKED'], ...cells])}\n\n${JSON.stringify(rows)}\n`);
process.exit(rows.some((row) => verdict(row).startsWith('MISSED')) ? 1 : 0);
