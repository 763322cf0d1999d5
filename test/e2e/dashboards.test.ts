import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { ALERTS, RECORDINGS } from '../../dashboards/netsonde/alerts.ts';
import { EDGE, WORKLOAD_RECORDINGS } from '../../dashboards/netsonde/flow_risks.ts';
import { WORKLOAD_OF_POD } from '../../dashboards/netsonde/views.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { provokeAnomalies } from '../support/anomalies.ts';
import { LoopDevice } from '../support/block.ts';
import { interpolate, MODELS, type Query, queriesOf } from '../support/dashboards.ts';
import { HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer } from '../support/prometheus.ts';

/**
 * Two agents run on this machine: one with all probes and full detail, and one with the default probes, a failing
 * probe, a failing sink, and an invalid configuration.
 */
const FULL = 'full';
const PLAIN = 'plain';
const RULES = fileURLToPath(new URL('../../dashboards/rules/netsonde.yaml', import.meta.url));
/** The probe that fails in this test, because another file is mounted over its object file. */
const BROKEN_PROBE = 'netiftxlatency';
const BROKEN_OBJECT = fileURLToPath(new URL(`../../dist/bpf/${BROKEN_PROBE}.bpf.o`, import.meta.url));

const ALL_ON = { detail: 'full', probes: Object.fromEntries(PROBES.map(({ name }) => [name, true])) };
const PLAIN_CONFIG = { probes: { [BROKEN_PROBE]: true } };
const REFUSED_CONFIG = { probes: { tcpp: true } };

const DURATIONS = { __rate_interval: '10s', __range: '30s' };

const queries = queriesOf('prometheus');

let cleanup: AsyncDisposableStack;
let pair: HostPair;
let prometheus: PrometheusServer;

function ask({ expr }: Query, node: string) {
  return prometheus.query(interpolate(expr, { ...DURATIONS, node }));
}

/** Returns the probe that a query needs if it is off by default. */
function offProbe({ expr }: Query): string | undefined {
  return PROBES.filter(({ enabledByDefault }) => !enabledByDefault).find(({ metrics }) =>
    Object.values(metrics as MetricSet).some(({ name }) => expr.includes(name)),
  )?.name;
}

/** Reads and writes a device from a process in the namespace, bypassing the page cache. */
async function useBlockDevice(device: LoopDevice, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    pair.a.netns.exec(`dd if=/dev/zero of=${device.path} bs=64k count=4 oflag=direct status=none`);
    pair.a.netns.exec(`dd if=${device.path} of=/dev/null bs=64k count=4 iflag=direct status=none`);
    await wait(500);
  }
}

beforeAll(async () => {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'dashboards-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  pair = stack.use(await HostPair.create());
  pair.a.netns.tc(`qdisc add dev ${pair.deviceA} root tbf rate 100mbit burst 10kb limit 5kb`);
  const device = stack.use(new LoopDevice());
  const stop = new AbortController();
  const io = useBlockDevice(device, stop.signal);
  stack.defer(async () => {
    stop.abort();
    await io;
  });

  const plainConfig = write('plain.yaml', JSON.stringify(PLAIN_CONFIG));
  const full = stack.use(await AgentProcess.serve(['--config', write('full.yaml', JSON.stringify(ALL_ON))]));
  const plain = stack.use(
    await AgentProcess.serve(
      ['--config', plainConfig],
      // With slave propagation, the agent also sees namespaces that are mounted later.
      [
        'unshare',
        '--mount',
        '--propagation',
        'slave',
        'sh',
        '-c',
        'mount --bind "$0" "$1" && shift && exec "$@" >/dev/full',
      ].concat(write('no.bpf.o', 'no object'), BROKEN_OBJECT),
    ),
  );
  const target = (agent: AgentProcess, node: string) => ({ address: new URL(agent.url ?? '').host, labels: { node } });
  const ruleFile = write('rules.yaml', readFileSync(RULES, 'utf8').replaceAll(/^( +for:) .*$/gm, '$1 0s'));
  prometheus = stack.use(
    await PrometheusServer.start({
      targets: [target(full, FULL), target(plain, PLAIN)],
      ruleFile,
      pods: [pair.a.netns.name, pair.b.netns.name],
    }),
  );
  stack.use(await provokeAnomalies(pair));
  writeFileSync(plainConfig, JSON.stringify(REFUSED_CONFIG));
  // Queries compute rates over ten seconds, so they need samples from a period of that length.
  await wait(10_000);
  cleanup = stack.move();
});

afterAll(() => cleanup?.disposeAsync());

/**
 * Reasons why panels or series have no data in this test. The keys are the beginnings of their titles: dashboard,
 * panel, and column or line.
 */
const NOT_HERE: Readonly<Record<string, string>> = {
  'netsonde-cluster: Worst Pods: Dropped unread': 'no process here is that slow',
  'netsonde-cluster: Worst nodes: Backlog overrun': 'the CPUs keep up',
  'netsonde-cluster: Worst nodes: Conntrack': 'the node itself tracks nothing',
  'netsonde-cluster: Worst nodes: Not tracked': 'the node itself tracks nothing',
  'netsonde-cluster: Worst nodes: Retransmitted': 'the node itself talks to its loopback device',
  'netsonde-cluster: Worst nodes: Dropped by devices': 'the devices keep up',
  'netsonde-cluster: Worst nodes: Out of time': 'the CPUs keep up',
  'netsonde-node: Connection tracking: node': 'the node itself tracks nothing',
  'netsonde-node: In the queues of devices and in drivers, 99 %': 'the devices of the node need no queue',
  'netsonde-node: Changes of devices': 'the devices of the node stay as they are',
  'netsonde-node: Neighbours: {{device}}: no answer': 'every neighbour answers',
  'netsonde-node: RDMA': 'no RDMA device',
  'netsonde-node: Control commands of virtio-net, 99 %': 'no function can be hooked',
  'netsonde-flows: Limited by the receiver': 'every receiver reads in time',
  'netsonde-flows: Limited by the send buffer': 'every send buffer is large enough',
  'netsonde-requests: Open requests, by Pod': 'every request is answered at once',
  'netsonde-requests: Not understood, by cause': 'everything is understood',
  'netsonde-requests: Codes that were not seen': 'every call ends with a code',
  'netsonde-dns: Datagrams that found the buffer full': 'every socket reads in time',
  'netsonde-agent: Probes that have failed, by node': 'only the other agent has one',
  'netsonde-agent: Failed collections, by probe': 'all succeed',
  'netsonde-agent: Delivered and lost, by sink: {{sink}} lost': 'nothing is lost',
  'netsonde-agent: Not counted by BPF programs': 'all is counted',
  'netsonde-agent: Left out or collapsed': 'all is shown',
  'netsonde-agent: BPF programs: CPU, of one core, by probe': 'the kernel does not measure it',
  'netsonde-agent: Agents that restarted or refused': 'only the other agent refuses',
};

function isHere({ dashboard, name }: Query): boolean {
  return !Object.keys(NOT_HERE).some((start) => `${dashboard}: ${name}`.startsWith(start));
}

it('lists data that is missing here by existing titles', () => {
  const titles = queries.map(({ dashboard, name }) => `${dashboard}: ${name}`);
  for (const start of Object.keys(NOT_HERE)) expect(titles.filter((title) => title.startsWith(start))).not.toEqual([]);
});

describe.each(queries.map((query) => [`${query.dashboard}: ${query.name}`, query] as const))('%s', (_, query) => {
  const { panel } = query;
  const reason = panel.fieldConfig?.defaults.noValue;

  it('has data if all probes run', async () => {
    if (!isHere(query)) expect(reason, 'explains why it may be empty').toBeDefined();
    else await eventually(async () => expect(await ask(query, FULL)).not.toEqual([]));
  });

  it('has data with the default probes, or explains why not', async () => {
    if (reason === undefined) await eventually(async () => expect(await ask(query, PLAIN)).not.toEqual([]));
    if (offProbe(query) !== undefined) {
      expect(reason).toContain(`The probe ${offProbe(query)} is off by default`);
      expect(await ask(query, PLAIN)).toEqual([]);
    }
  });
});

describe('the alert', () => {
  it.each([
    ['NetsondePacketDrops', FULL, () => ({ pod: pair.b.netns.name, reason: 'NETFILTER_DROP' })],
    ['NetsondeTcpResets', FULL, () => ({ pod: pair.b.netns.name, direction: 'sent' })],
    ['NetsondeTcpResets', FULL, () => ({ pod: pair.a.netns.name, direction: 'received' })],
    ['NetsondeTcpRetransmits', PLAIN, () => ({ pod: pair.a.netns.name })],
    ['NetsondeListenOverflow', PLAIN, () => ({ pod: pair.b.netns.name })],
    ['NetsondeConnectFailures', PLAIN, () => ({ pod: pair.a.netns.name })],
    ['NetsondeConnectFailureCause', PLAIN, () => ({ pod: pair.a.netns.name, cause: 'refused' })],
    ['NetsondePortListenDrops', PLAIN, () => ({ pod: pair.b.netns.name, port: '7003' })],
    ['NetsondeEdgeLossy', FULL, () => ({ pod: pair.a.netns.name, port: '7003', role: 'client' })],
    ['NetsondeProbeFailed', PLAIN, () => ({ probe: BROKEN_PROBE })],
    ['NetsondeSinkFailed', PLAIN, () => ({ sink: 'stdout' })],
    ['NetsondeConfigRefused', PLAIN, () => ({})],
  ])('%s fires', async (alertname, node, labels) => {
    await eventually(async () => {
      const firing = await prometheus.query(`ALERTS{alertname="${alertname}",alertstate="firing",node="${node}"}`);
      expect(firing.map(({ labels: of }) => of)).toContainEqual(expect.objectContaining(labels()));
    });
  });

  it('of a healthy agent does not', async () => {
    const firing = await prometheus.query(`ALERTS{alertstate="firing",node="${FULL}"}`);
    const names = new Set(firing.map(({ labels }) => labels['alertname']));
    for (const name of [
      'NetsondeProbeFailed',
      'NetsondeEventsLost',
      'NetsondeConfigRefused',
      'NetsondeAgentDown',
      'NetsondePageOld',
    ]) {
      expect(names).not.toContain(name);
    }
  });
});

const RUNBOOK = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
const DOC_QUERIES = [
  ...PROBES.map(({ name, guide }) => [`of ${name}`, guide.query] as const),
  ...[...RUNBOOK.matchAll(/^```promql\n(.*?)\n```/gms)].map(([, query = '']) => ['of the runbook', query] as const),
];

it.each(DOC_QUERIES)('the query %s can be answered: %s', async (_, query) => {
  await expect(prometheus.query(query)).resolves.toBeDefined();
});

it.each(WORKLOAD_RECORDINGS.map(({ record, expression }) => [record, expression.metrics[0]?.name ?? ''] as const))(
  '%s has the edges of a Pod under the name of its workload',
  async (record, metric) => {
    const { name } = pair.a.netns;
    const workload = new RegExp(WORKLOAD_OF_POD).exec(name)?.groups?.['value'];
    const edges = EDGE.join(', ');
    const recorded = `${record}{workload="${workload}"}`;
    const edgesOfPod = `sum by (${edges}) (rate(${metric}{pod="${name}"}[5m]))`;
    await eventually(async () => expect(await prometheus.query(recorded)).not.toEqual([]));
    expect(await prometheus.query(`${recorded} unless on (${edges}) ${edgesOfPod}`)).toEqual([]);
    expect(await prometheus.query(`{__name__="${record}",pod!=""}`)).toEqual([]);
  },
);

it('no rule is evaluated with an error', async () => {
  const { groups } = await prometheus.get<{ groups: { rules: { name: string; health: string }[] }[] }>('rules');
  const rules = groups.flatMap((group) => group.rules);
  expect(rules).toHaveLength(ALERTS.length + RECORDINGS.length);
  expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
});

it('finds values for every variable', async () => {
  for (const { uid, templating } of MODELS) {
    for (const { name, type, query } of templating.list.filter((variable) => variable.type === 'query')) {
      const [, selector = '', label] = /^label_values\((.*), (\w+)\)$/.exec(query) ?? [];
      const found = await prometheus.query(`count by (${label}) (${interpolate(selector, {})})`);
      const values = found.flatMap(({ labels }) => labels[label ?? ''] ?? []);
      // No target has the label `cluster`, and there are no Kubernetes namespaces here.
      if (['cluster', 'namespace'].includes(name)) expect(values, `${uid}: ${name} ${type}`).toEqual([]);
      else if (name === 'node') expect(values.sort()).toEqual([FULL, PLAIN]);
      else expect(values).toEqual(expect.arrayContaining([pair.a.netns.name, pair.b.netns.name]));
    }
  }
});
