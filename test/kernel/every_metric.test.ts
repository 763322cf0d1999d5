import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SELF_METRICS } from '#collectors/self.ts';
import { asNetnsId } from '#core/netns.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type MetricDescriptor, NO_LABELS } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { SCENARIO_NAMES } from '../scenarios/all.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { sh } from '../support/command.ts';
import { makeTraffic } from '../support/counters.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';
import { HostPair, uniqueName } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { promtool } from '../support/promtool.ts';
import { playScene } from '../support/scene.ts';

/** Enables every probe with full detail. */
const CONFIG = `
detail: full
bpfStats: true
probes:
${PROBES.map(({ name }) => `  ${name}: { enabled: true${name === 'tcpext' ? ', fields: all' : ''}${name === 'conntrack' ? ', states: true' : ''} }`).join('\n')}
`;
const GOLDEN = new URL('../fixtures/metrics.golden.txt', import.meta.url);

/** More devices than the label's maximum number of values. */
const DEVICES = 20;

/**
 * Metrics that only change with the node's own network, which this test must not change. test/kernel/changes.test.ts
 * covers them.
 */
const IN_A_NAMESPACE = ['netsonde_link_changes_total', 'netsonde_neighbour_failures_total'];
/** Metrics that need certain hardware or kernel modules. The guest tests cover them (test/guest/checks). */
const IN_A_GUEST = ['netsonde_rdma_resources', 'netsonde_virtio_command_seconds'];
/** Metrics that exist only in Kubernetes mode. test/e2e/kubernetes.test.ts and test/e2e/shop.test.ts cover them. */
const IN_KUBERNETES = /^netsonde_(kubernetes|peer|service|policy)_/;
/** Metrics that exist only with `--web.config.file`. test/e2e/web_config.test.ts covers them. */
const WITH_WEB_CONFIG = /^netsonde_web_/;

/** A probe that emits a sample for an unknown namespace. */
const lost = defineProbe({
  name: 'lost',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary: 'A probe whose namespace is unknown.',
  guide: { question: '', when: '', query: '', limits: [''] },
  metrics: defineMetrics({
    lost: {
      name: 'netsonde_lost_total',
      type: 'counter',
      help: 'A counter that is never shown.',
      source: 'the test',
      scope: 'pod',
      detail: 'core',
      labels: {},
    },
  }),
  events: {},
  options: {},
  requires: { capabilities: [], kernel: 'Any.' },
  measured: {},
  open: async () => ({
    health: () => ({ reader: 'test', degraded: [] }),
    collect: async (emit) => emit('lost', asNetnsId(1), 1, NO_LABELS),
  }),
});

/**
 * Fills an accept queue so that further connections are dropped. The listening socket stays open until the program
 * exits.
 */
const FULL_QUEUE = `
full = listen(B, 7011, 0)
waiting = [sock(A) for _ in range(4)]
for client in waiting:
    client.setblocking(False)
    try: client.connect((ADDRESS[B], 7011))
    except BlockingIOError: pass
    time.sleep(0.05)
`;

/** Causes disk requests. */
function writeToDisk(): void {
  const file = `/var/tmp/${uniqueName('io')}`;
  sh(`dd if=/dev/zero of=${file} bs=4k count=1 conv=fsync status=none`);
  rmSync(file);
}

const resources = new AsyncDisposableStack();
let pair: HostPair;
let text: string;
let page: Exposition;
let pages: readonly Exposition[];

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  for (let device = 0; device < DEVICES; device += 2) {
    pair.b.netns.ip(`link add ${uniqueName('d')} type veth peer name ${uniqueName('d')}`);
  }
  pair.b.netns.exec('nft add table inet t');
  pair.b.netns.exec('nft add chain inet t i { type filter hook input priority 0 ; }');
  pair.b.netns.exec('nft add rule inet t i ct state invalid drop');
  const agent = resources.use(await TestKernel.open(CONFIG));
  await makeTraffic(pair);
  // A dropped SYN is retransmitted after a second, and a SYN to a closed port is reset.
  pair.b.netns.exec('nft add rule inet t i tcp dport 7009 drop');
  await pair.a.tcpTry({ address: pair.addressB.ipv4, port: 7009, timeoutMs: 1_200 });
  await pair.a.tcpTry({ address: pair.addressB.ipv4, port: 7010, timeoutMs: 30_000 });
  await playScene(pair, 'ipv4', FULL_QUEUE);
  writeToDisk();
  text = await agent.text();
  page = parseExposition(text);
  const stray = resources.use(await TestKernel.open('{}', { probes: [lost] }));
  const served = resources.use(await AgentProcess.serve());
  // A lost packet causes an event.
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7999, count: 1, bytes: 10 });
  const withEvents = await eventually(async () => {
    const ofAgent = await served.page();
    expect(ofAgent.samples.map(({ name }) => name)).toContain('netsonde_events_delivered_total');
    return ofAgent;
  });
  pages = [page, await stray.page(), withEvents, parseExposition(readFileSync(GOLDEN, 'utf8'))];
});

afterAll(() => resources.disposeAsync());

const names = (): Set<string> =>
  new Set(pages.flatMap(({ named }) => [...named.keys()].map((name) => name.replace(/_bucket$/, ''))));

describe('every metric that is declared is on a page', () => {
  // Probes with a scenario are excluded, because their scenarios check all of their metrics.
  const others = PROBES.filter(({ name }) => !SCENARIO_NAMES.includes(name));

  it.each(others.map(({ name, metrics }) => [name, metrics] as const))('%s', (_, metrics) => {
    const shown = names();
    const declared = Object.values<MetricDescriptor>(metrics).map(({ name }) => name);
    const missing = declared.filter((name) => !shown.has(name));
    expect(missing.filter((name) => ![...IN_A_GUEST, ...IN_A_NAMESPACE].includes(name))).toEqual([]);
  });

  it('the agent itself', () => {
    const declared = [...Object.values(AGENT_METRICS), ...Object.values(SELF_METRICS)].map(({ name }) => name);
    const shown = names();
    const missing = declared.filter((name) => !shown.has(name));
    expect(missing.filter((name) => !IN_KUBERNETES.test(name) && !WITH_WEB_CONFIG.test(name))).toEqual([]);
  });
});

it('the memory of a map that several probes use is listed once', () => {
  const maps = page.samples.filter(({ name }) => name === 'netsonde_bpf_map_bytes').map(({ labels }) => labels['map']);
  const shared = ['l7_kept', 'l7_connections', 'request_rows', 'http_rows', 'flow_rows'];
  expect(shared.map((name) => maps.filter((map) => map?.endsWith(`/${name}`)).length)).toEqual(shared.map(() => 1));
  expect(maps).not.toContain('*');
});

it('promtool finds no error in the page of all probes, and no two series have the same labels', () => {
  expect(promtool('check', 'metrics', text)).toBe('');
  const keys = page.samples.map(({ name, labels }) => `${name}${JSON.stringify(Object.entries(labels).sort())}`);
  expect(new Set(keys).size).toBe(keys.length);
});

it('metrics of the node appear once, metrics of a Pod for each of the two', () => {
  const descriptors = PROBES.flatMap(({ metrics }) => Object.values<MetricDescriptor>(metrics));
  const podsOf = ({ name }: MetricDescriptor) =>
    new Set((page.named.get(name) ?? []).map(({ labels }) => labels['pod']));
  for (const metric of descriptors.filter(({ scope }) => scope === 'node')) {
    expect(
      [...podsOf(metric)].filter((pod) => pod !== ''),
      metric.name,
    ).toEqual([]);
  }
  const plain = descriptors.filter(({ scope, labels }) => scope === 'pod' && Object.keys(labels).length === 0);
  const inBoth = plain.filter((metric) => {
    const pods = podsOf(metric);
    return pods.has(pair.a.netns.name) && pods.has(pair.b.netns.name);
  });
  expect(inBoth.length).toBeGreaterThan(plain.length * 0.8);
});
