import { deepEqual, equal, notDeepEqual } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { sampleValue } from '../../support/exposition.ts';
import { HostPair, type TestNetns } from '../../support/hosts.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { eventually, readBoth } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';

/** The five columns of the kernel's file, in their order: connections, packets in, packets out, bytes in, bytes out. */
type Totals = readonly number[];

const METRICS = ['connections', 'received_packets', 'sent_packets', 'received_bytes', 'sent_bytes'];
/** Maximum time to wait for the totals, in milliseconds. The kernel updates them every two seconds. */
const ADDED_UP_MS = 10_000;

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

/** Creates a virtual service with one server in the same namespace. */
function balance(netns: TestNetns, address: string): void {
  netns.exec(`ipvsadm -A -t ${address}:80 -s rr`);
  netns.exec(`ipvsadm -a -t ${address}:80 -r ${address}:8080 -m`);
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  sh('modprobe -a ip_vs ip_vs_rr');
  const pair = resources.use(await HostPair.create());
  const { a, b, addressA, addressB } = pair;
  for (const address of [addressB.ipv4, `[${addressB.ipv6}]`]) balance(b.netns, address);
  balance(a.netns, addressA.ipv4);
  await a.tcpServe({ address: addressA.ipv4, port: 8080 });
  for (const address of [addressB.ipv4, addressB.ipv6]) await b.tcpServe({ address, port: 8080 });
  await a.tcpExchange({ address: addressB.ipv4, port: 80, count: 5, bytes: 20_000 });
  await a.tcpExchange({ address: addressB.ipv6, port: 80, count: 2, bytes: 5_000 });
  await b.tcpExchange({ address: addressA.ipv4, port: 80, count: 3, bytes: 300 });
  const agent = resources.use(await TestKernel.open(only({ ipvs: true }, { detail: 'full' })));
  return { pair, agent };
}

function fileTotals(netns: TestNetns): Totals {
  const line = netns.exec('cat /proc/net/ip_vs_stats').split('\n')[2] ?? '';
  return line
    .trim()
    .split(/\s+/)
    .map((cell) => Number.parseInt(cell, 16));
}

/** Returns the sums over all services of the namespace, according to ipvsadm. */
function toolTotals(netns: TestNetns): Totals {
  const services = [...netns.exec('ipvsadm -ln --stats --exact').matchAll(/^TCP +\S+((?: +\d+){5})$/gm)];
  const rows = services.map(([, cells = '']) => cells.trim().split(/\s+/).map(Number));
  return [0, 1, 2, 3, 4].map((column) => rows.reduce((sum, row) => sum + (row[column] ?? Number.NaN), 0));
}

async function ourTotals(agent: TestKernel, netns: TestNetns): Promise<(number | undefined)[]> {
  const page = await agent.page();
  const labels = { namespace: '', pod: netns.name };
  return METRICS.map((metric) => sampleValue(page, `netsonde_ipvs_${metric}_total`, labels));
}

async function compare(agent: TestKernel, netns: TestNetns, connections: number): Promise<void> {
  await eventually(() => equal(fileTotals(netns)[0], connections), ADDED_UP_MS);
  const { oracle, ours } = await readBoth(
    () => [fileTotals(netns), toolTotals(netns)],
    () => ourTotals(agent, netns),
  );
  deepEqual([ours, ours], oracle);
  equal(
    ours.every((value) => Number(value) > 0),
    true,
  );
}

export const ipvs = defineChecks<Context>('ipvs', open, {
  'equals ip_vs_stats and ipvsadm in a namespace that balances IPv4 and IPv6': ({ agent, pair }) =>
    compare(agent, pair.b.netns, 7),

  'equals them in another namespace with less traffic': async ({ agent, pair }) => {
    await compare(agent, pair.a.netns, 3);
    notDeepEqual(await ourTotals(agent, pair.a.netns), await ourTotals(agent, pair.b.netns));
  },

  'grows with the traffic': async ({ agent, pair }) => {
    await pair.b.tcpExchange({ address: pair.addressA.ipv4, port: 80, count: 2, bytes: 300 });
    await compare(agent, pair.a.netns, 5);
  },
});
