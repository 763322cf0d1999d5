import { parseArgs } from 'node:util';
import { renderTable } from '#commands/table.ts';
import { benchAttacks } from './attacks/attacks.ts';
import { benchConntrack } from './conntrack.ts';
import { benchEdges } from './edges.ts';
import { benchEvents } from './events.ts';
import { benchExposition } from './exposition.ts';
import { benchFlows } from './flows.ts';
import { benchFootprint } from './footprint.ts';
import { benchKernel } from './kernel.ts';
import { benchLatency } from './latency.ts';
import { LIVED_ARGUMENTS, latencyOptions, livedOptions } from './lived/arguments.ts';
import { benchLived } from './lived/lived.ts';
import { benchMap } from './map.ts';
import type { Row } from './measure.ts';
import { benchMemory } from './memory.ts';
import { benchMib } from './mib.ts';
import { benchNetdev } from './netdev.ts';
import { benchPeers } from './peers/peers.ts';
import { benchPods } from './pods.ts';
import { benchPolicies } from './policies.ts';
import { benchProcesses } from './processes.ts';
import { benchRequests } from './requests/requests.ts';
import { benchRing } from './ring.ts';
import { benchScrape } from './scrape.ts';
import { benchSeries } from './series.ts';
import { benchSizing } from './sizing.ts';
import { benchTcpsummary } from './tcpsummary.ts';
import { benchTunnels } from './tunnels.ts';
import { benchUdpflow } from './udpflow.ts';

/**
 * `npm run bench` runs all groups, and `npm run bench -- mib exposition` runs only the given ones. The options belong
 * to `lived` and `latency`, except `--attack TEXT`, which belongs to `attacks`, and `--part NAME`, which belongs to
 * `requests` and may be given several times. Prints a table, then the same figures as JSON.
 */

const { values: given, positionals: wanted } = parseArgs({
  options: { ...LIVED_ARGUMENTS, attack: { type: 'string' }, part: { type: 'string', multiple: true } },
  allowPositionals: true,
});

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  mib: benchMib,
  netdev: benchNetdev,
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
  peers: benchPeers,
  kernel: benchKernel,
  tunnels: benchTunnels,
  udpflow: benchUdpflow,
  flows: benchFlows,
  policies: benchPolicies,
  requests: () => benchRequests(given.part),
  series: benchSeries,
  map: benchMap,
  sizing: benchSizing,
  attacks: () => benchAttacks(given.attack),
  latency: () => benchLatency(latencyOptions(given)),
  lived: () => benchLived(livedOptions(given)),
};

/** Renders a spread as `median [quartiles], mean, n`, and a mean with its confidence interval. */
function figure({ value, unit, spread, interval }: Row): string {
  const shown = `${value.toFixed(2)} ${unit}`.trim();
  if (interval !== undefined) return `${shown} [95 %: ${interval.map((end) => end.toFixed(2)).join(' to ')}]`;
  if (spread === undefined) return shown;
  const { quartiles, mean, n } = spread;
  return `${shown} [${quartiles.map((quartile) => quartile.toFixed(2)).join('-')}], mean ${mean.toFixed(2)}, n=${n}`;
}

function verdict({ value, bound }: Row): string {
  if (bound?.atMost !== undefined)
    return value <= bound.atMost ? `ok, at most ${bound.atMost}` : `MISSED, at most ${bound.atMost}`;
  if (bound?.atLeast !== undefined)
    return value >= bound.atLeast ? `ok, at least ${bound.atLeast}` : `MISSED, at least ${bound.atLeast}`;
  return '';
}

const unknown = wanted.find((name) => !(name in BENCHES));
if (unknown !== undefined) throw new Error(`no bench ${unknown}; there are ${Object.keys(BENCHES).join(', ')}`);
const rows: Row[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`bench: ${name}\n`);
  rows.push(...(await bench()));
}
const cells = rows.map((row) => [row.bench, row.what, figure(row), verdict(row)]);
process.stdout.write(`${renderTable([['BENCH', 'WHAT', 'VALUE', 'ASKED'], ...cells])}\n\n${JSON.stringify(rows)}\n`);
process.exit(rows.some((row) => verdict(row).startsWith('MISSED')) ? 1 : 0);
