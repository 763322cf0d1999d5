import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { agreesWithTool } from '../support/libbpf_tools.ts';
import { eventually } from '../support/oracle.ts';

const WAIT = 'netsonde_softirq_wait_seconds';
const RUN = 'netsonde_softirq_run_seconds';
const ALL = ['hi', 'timer', 'net_tx', 'net_rx', 'block', 'irq_poll', 'tasklet', 'sched', 'hrtimer', 'rcu'];
const configOf = (options: object) => only({ softirq: { enabled: true, ...options } });

/** Configuration with a threshold that no softirq exceeds, so there are no events. */
const QUIET = configOf({ vectors: ALL, threshold: '10s' });

const resources = new AsyncDisposableStack();
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  agent = resources.use(await TestKernel.open(QUIET));
});

afterAll(() => resources.disposeAsync());

async function histogram(name: string, vector: string): Promise<PageHistogram> {
  return histogramOf(await agent.page(), name, { vector, namespace: '', pod: '' });
}

function sendDatagrams(count: number): Promise<number> {
  return pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count, bytes: 100 });
}

it('measures how long net_rx waits and runs, while packets come in', async () => {
  const before = { wait: await histogram(WAIT, 'net_rx'), run: await histogram(RUN, 'net_rx') };
  await sendDatagrams(500);
  const wait = grown(before.wait, await histogram(WAIT, 'net_rx'));
  const run = grown(before.run, await histogram(RUN, 'net_rx'));
  // One softirq may process several packets, but this sender waits for each packet, so hundreds of softirqs run.
  for (const { count, sum, buckets } of [wait, run]) {
    expect(count).toBeGreaterThan(100);
    const upper = buckets.reduce((total, { bound, count }) => total + count * Math.min(bound, 17), 0);
    expect(sum).toBeGreaterThan(0);
    expect(sum).toBeLessThan(upper);
  }
});

it('shows every configured kind, on the node alone', async () => {
  const page = await agent.page();
  const shown = page.samples.filter(({ name }) => name === `${WAIT}_count`);
  expect(shown).toHaveLength(10);
  expect(shown.every(({ labels }) => labels['namespace'] === '' && labels['pod'] === '')).toBe(true);
  expect((await histogram(RUN, 'timer')).count).toBeGreaterThan(0);
  expect((await histogram(RUN, 'rcu')).count).toBeGreaterThan(0);
});

it('run times agree with softirqs of libbpf-tools, within a bucket at the median', () =>
  agreesWithTool({
    command: ['softirqs', '-d', '3', '1'],
    seconds: 3,
    section: /softirq = net_rx\n([^=]*)/,
    histogram: () => histogram(RUN, 'net_rx'),
    load: () => sendDatagrams(500),
    atLeast: 500,
  }));

it('reports softirqs above the threshold, with the CPU and the process that it was running', async () => {
  await agent.kernel.configure(
    probesOf(configOf({ vectors: ['net_rx', 'timer', 'sched'], threshold: '1us', limit: 1_000 })),
  );
  agent.events.length = 0;
  const { waited, ran } = await eventually(async () => {
    // On a fast CPU, most softirqs run for less than a microsecond.
    await sendDatagrams(200);
    const found = agent.events.filter(({ type }) => type === 'softirq_wait_slow');
    const ran = agent.events.filter(({ type, vector }) => type === 'softirq_run_slow' && vector === 'net_rx');
    expect(found.length).toBeGreaterThan(5);
    expect(ran.length).toBeGreaterThan(20);
    return { waited: found[0], ran };
  });
  expect(waited).toMatchObject({ probe: 'softirq', severity: 'warning', netns: '', namespace: '', pod: '' });
  for (const event of agent.events.filter(({ probe }) => probe === 'softirq')) {
    expect(['net_rx', 'timer', 'sched']).toContain(event['vector']);
    expect(event['cpu']).toBeGreaterThanOrEqual(0);
    expect(event['delaySeconds']).toBeGreaterThan(1e-6);
    expect(event['task']).toMatch(/./);
    expect(event.message).toContain(`On CPU ${event['cpu']} the softirq ${event['vector']}`);
  }
  // Over loopback, the softirq that receives the datagrams runs in the context of the sender.
  expect(ran.some(({ pid }) => pid === pair.a.pid)).toBe(true);
});

it('continues its counts, with the configured buckets', async () => {
  const before = await histogram(RUN, 'net_rx');
  await agent.kernel.configure(probesOf(only({})));
  expect((await histogram(RUN, 'net_rx')).buckets).toEqual([]);
  await agent.kernel.configure(probesOf(configOf({ events: false, buckets: { from: '8us', to: '3ms' } })));
  const after = await histogram(RUN, 'net_rx');
  expect(after.count).toBeGreaterThanOrEqual(before.count);
  expect(after.sum).toBeGreaterThanOrEqual(before.sum);
  expect(after.buckets.map(({ bound }) => bound)).toEqual([
    0.000008,
    0.000016,
    0.000032,
    0.000064,
    0.000128,
    0.000256,
    0.000512,
    0.001024,
    0.002048,
    0.004096,
    Number.POSITIVE_INFINITY,
  ]);
  expect(filled(after)).toContain(0.000008);
});
