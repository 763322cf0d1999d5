import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CountedPair, makeTraffic, ofPod } from '../support/counters.ts';
import { type HostPair, uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

interface Qdisc {
  readonly kind: string;
  readonly dev: string;
  readonly root?: boolean;
  readonly [stat: string]: unknown;
}

const CONFIG = only({ qdisc: true }, { detail: 'full' });

const resources = new AsyncDisposableStack();
const [htb, mq, ingress] = [uniqueName('h'), uniqueName('m'), uniqueName('i')];
let pair: HostPair;
let agent: TestKernel;
let withoutPass: TestKernel;

/** Adds a link between the two namespaces, runs `tc` commands on its device, and sends datagrams over it. */
async function addLink({ a, b }: HostPair, device: string, net: number, ...commands: string[]): Promise<void> {
  const peer = uniqueName('p');
  a.netns.ip(`link add ${device} numtxqueues 2 type veth peer name ${peer} netns ${b.netns.name}`);
  a.netns.ip(`addr add 10.9.${net}.1/24 dev ${device}`);
  b.netns.ip(`addr add 10.9.${net}.2/24 dev ${peer}`);
  a.netns.ip(`link set ${device} up`);
  b.netns.ip(`link set ${peer} up`);
  for (const command of commands) a.netns.tc(command);
  await b.udpReceive({ address: `10.9.${net}.2`, port: 6100 + net });
  await a.udpSend({ address: `10.9.${net}.2`, port: 6100 + net, count: 10 * net, bytes: 500 });
}

async function shape(hosts: HostPair): Promise<void> {
  await makeTraffic(hosts);
  await addLink(
    hosts,
    htb,
    1,
    `qdisc add dev ${htb} root handle 1: htb default 10`,
    `class add dev ${htb} parent 1: classid 1:10 htb rate 100mbit`,
    `qdisc add dev ${htb} parent 1:10 handle 10: pfifo limit 100`,
  );
  await addLink(hosts, mq, 2, `qdisc add dev ${mq} root mq`);
  await addLink(hosts, ingress, 3, `qdisc add dev ${ingress} ingress`);
  await hosts.b.udpSend({ address: '10.9.3.1', port: 6103, count: 5, bytes: 100 });
}

beforeAll(async () => {
  const counted = resources.use(await CountedPair.create(CONFIG, shape));
  ({ pair, agent } = counted);
  withoutPass = resources.use(await TestKernel.open(CONFIG, { objects: '/nonexistent' }));
});

afterAll(() => resources.disposeAsync());

describe.each([
  ['pass, netlink', () => agent],
  ['netlink', () => withoutPass],
])('by %s', (reader, agentOf) => {
  it('qdisc equals tc -s qdisc: roots and ingress, each once', async () => {
    expect(
      agentOf()
        .kernel.probes()
        .find(({ name }) => name === 'qdisc')?.reader,
    ).toBe(reader);
    const { oracle, ours } = await readBoth(
      () => JSON.parse(pair.a.netns.tc('-s -j qdisc show')) as Qdisc[],
      () => agentOf().page(),
    );
    const shown = oracle.filter(({ kind, root }) => (root === true && kind !== 'noqueue') || kind === 'ingress');
    expect(shown.map(({ dev, kind }) => [dev, kind]).sort()).toEqual(
      [
        [pair.deviceA, 'tbf'],
        [htb, 'htb'],
        [mq, 'mq'],
        [ingress, 'ingress'],
      ].sort(),
    );
    // The child qdiscs exist, but the page does not show them separately.
    expect(oracle.filter(({ kind }) => kind.startsWith('pfifo')).length).toBeGreaterThanOrEqual(3);
    for (const row of shown) {
      const labels = { device: row.dev, kind: row.kind };
      const expected = {
        sent_bytes_total: row['bytes'],
        sent_packets_total: row['packets'],
        drops_total: row['drops'],
        overlimits_total: row['overlimits'],
        requeues_total: row['requeues'],
        queued_packets: row['qlen'],
        backlog_bytes: row['backlog'],
      };
      for (const [what, value] of Object.entries(expected)) {
        expect(ofPod(ours, pair.a, `netsonde_qdisc_${what}`, labels), `${row.kind} ${what}`).toBe(value);
      }
      // The ingress qdisc is not a root; it counts no packets because it has no filter.
      if (row.root === true) expect(Number(row['packets']), row.kind).toBeGreaterThan(0);
    }
    expect(shown.find(({ kind }) => kind === 'tbf')?.['drops']).toBeGreaterThan(0);
    const ofNetns = (name: string) =>
      ours.samples.filter(({ name: metric, labels }) => metric.startsWith('netsonde_qdisc_') && labels['pod'] === name);
    expect(ofNetns(pair.a.netns.name)).toHaveLength(shown.length * 7);
    // No device in the other namespace has a qdisc.
    expect(ofNetns(pair.b.netns.name)).toEqual([]);
  });
});

it('a removed ingress qdisc is not shown, and a new one is', async () => {
  const kinds = async () =>
    (await agent.page()).samples
      .filter(({ name, labels }) => name === 'netsonde_qdisc_drops_total' && labels['pod'] === pair.b.netns.name)
      .map(({ labels }) => labels['kind']);
  pair.b.netns.tc(`qdisc add dev ${pair.deviceB} clsact`);
  expect(await kinds()).toEqual(['clsact']);
  pair.b.netns.tc(`qdisc del dev ${pair.deviceB} clsact`);
  expect(await kinds()).toEqual([]);
  pair.b.netns.tc(`qdisc add dev ${pair.deviceB} root pfifo limit 5`);
  expect(await kinds()).toEqual(['pfifo']);
});
