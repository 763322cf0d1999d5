import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { sourceOf } from '#probe/mib_fields.ts';
import { PROBES } from '#probes/index.ts';
import { isMissing } from '../../dashboards/kubeskoop/entry.ts';
import { KUBESKOOP } from '../../dashboards/kubeskoop/names.ts';
import { type Rule, rulesOf } from '../../dashboards/kubeskoop/rules.ts';
import { lacks } from '../support/programs.ts';
import { promtool } from '../support/promtool.ts';

const RULES = fileURLToPath(new URL('../../dashboards/rules/kubeskoop.yaml', import.meta.url));
const RULES_TEST = fileURLToPath(new URL('../../dashboards/rules/kubeskoop.test.yaml', import.meta.url));

const descriptors = new Map<string, MetricDescriptor>(
  PROBES.flatMap(({ metrics }) => Object.values(metrics as MetricSet)).map((metric) => [metric.name, metric]),
);

/** Number of metrics of each KubeSkoop 1.0 probe. */
const COUNTS = {
  netdev: 8,
  tcp: 10,
  udp: 8,
  ip: 19,
  tcpext: 32,
  tcpsummary: 7,
  sock: 5,
  softnet: 2,
  ipvs: 5,
  conntrack: 11,
  qdisc: 6,
  fd: 2,
  io: 4,
  packetloss: 2,
  tcpretrans: 1,
  socketlatency: 4,
  kernellatency: 4,
  netiftxlat: 2,
  softirq: 4,
  virtcmdlatency: 2,
  flow: 2,
  rdma: 7 + 50 + 55,
};

describe('the names', () => {
  it("are KubeSkoop's, each once", () => {
    const counts = KUBESKOOP.map(({ probe, metrics }) => [probe, Object.keys(metrics).length]);
    expect(Object.fromEntries(counts)).toEqual(COUNTS);
    expect(counts).toHaveLength(Object.keys(COUNTS).length);
    const names = KUBESKOOP.flatMap(({ metrics }) => Object.keys(metrics));
    expect(new Set(names).size).toBe(names.length);
    for (const { probe, metrics } of KUBESKOOP) {
      for (const name of Object.keys(metrics)) expect(name.startsWith(`kubeskoop_${probe}_`), name).toBe(true);
    }
  });

  it('without an equivalent have a reason', () => {
    const entries = KUBESKOOP.flatMap(({ metrics }) => Object.values(metrics));
    for (const entry of entries.filter(isMissing)) expect(entry.missing).toMatch(/^[A-Z].*\.$/);
  });
});

const existing = KUBESKOOP.flatMap(rulesOf);

describe.each(existing.map((rule) => [rule.name, rule] as const))('%s', (_, { equivalent }: Rule) => {
  it('is made from a metric of ours, by existing labels and values', () => {
    const descriptor = descriptors.get(equivalent.metric);
    expect(descriptor, equivalent.metric).toBeDefined();
    const chosen = [
      ...Object.entries(equivalent.only ?? {}),
      ...Object.entries(equivalent.without ?? {}).map(([label, value]) => [label, [value]] as const),
    ];
    for (const [name, values] of chosen) {
      const label = descriptor?.labels[name];
      expect(label, name).toBeDefined();
      if (label !== undefined && isClosed(label)) expect(label.values).toEqual(expect.arrayContaining([...values]));
    }
  });
});

/** KubeSkoop names a MIB counter after the kernel's field in lower case. Our descriptor names the field in `source`. */
const ofMibs = existing.filter(({ name }) => /^kubeskoop_(tcp|udp|ip|tcpext)_/.test(name));

it.each(ofMibs.map((rule) => [rule.name, rule] as const))("%s is the kernel's field of that name", (name, rule) => {
  const { metric, only } = rule.equivalent;
  const field = name.replace(/^kubeskoop_[a-z]+_/, '');
  const descriptor = descriptors.get(metric);
  const [shown = ''] = /(?<=\.)\w+/.exec(descriptor === undefined ? '' : sourceOf(descriptor)) ?? [];
  const cause = (only?.['cause']?.[0] ?? '').replaceAll('_', '');
  if (cause === '') expect(shown.toLowerCase()).toBe(field);
  else expect([`${shown}${cause}`, `${shown}on${cause}`].map((text) => text.toLowerCase())).toContain(field);
});

describe('the rules', () => {
  interface RulesFile {
    groups: { name: string; rules: { record: string; expr: string }[] }[];
  }
  const file = parse(readFileSync(RULES, 'utf8')) as RulesFile;

  it('form a group for each probe, evaluated at the interval of Prometheus', () => {
    const expected = KUBESKOOP.map((probe) => ({ name: `kubeskoop_${probe.probe}`, names: rulesOf(probe) }));
    expect(file.groups.map((group) => [group.name, group.rules.map(({ record }) => record)])).toEqual(
      expected.filter(({ names }) => names.length > 0).map(({ name, names }) => [name, names.map((rule) => rule.name)]),
    );
    for (const group of file.groups) expect(Object.keys(group)).toEqual(['name', 'rules']);
  });

  it.skipIf(lacks('promtool'))('pass promtool', () => {
    expect(promtool('check', 'rules', RULES, '')).toContain(
      `SUCCESS: ${KUBESKOOP.flatMap(rulesOf).length} rules found`,
    );
  });

  it.skipIf(lacks('promtool'))('select, sum, convert and label as the map states', () => {
    expect(promtool('test', 'rules', RULES_TEST, '')).toMatch(/^\s*SUCCESS\s*$/m);
  });

  it('each have an expectation in that test', () => {
    const { tests } = parse(readFileSync(RULES_TEST, 'utf8')) as { tests: { promql_expr_test: { expr: string }[] }[] };
    const tested = tests.flatMap(({ promql_expr_test }) => promql_expr_test.map(({ expr }) => expr));
    expect(tested).toEqual(file.groups.flatMap(({ rules }) => rules.map(({ record }) => record)));
  });
});

/** Writes a test of the rules, runs it, and returns promtool's output. */
function testRules(series: Record<string, string>, expectations: readonly string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'rules-'));
  try {
    const path = join(directory, 'test.yaml');
    const lines = [
      `rule_files: [${RULES}]`,
      'evaluation_interval: 15s',
      'tests:',
      '  - interval: 15s',
      '    input_series:',
      ...Object.entries(series).map(([name, values]) => `      - { series: '${name}', values: '${values}' }`),
      '    promql_expr_test:',
      ...expectations.map((expectation) => `      - ${expectation}`),
    ];
    writeFileSync(path, lines.join('\n'));
    return promtool('test', 'rules', path, '');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe.skipIf(lacks('promtool'))('a recorded series', () => {
  const OPENS = 'netsonde_tcp_active_opens_total';
  const RECORDED = 'kubeskoop_tcp_activeopens';
  const POD = 'namespace="shop",pod="cart-0"';

  it('has the rate of ours, even across a reset', () => {
    const said = testRules({ [`${OPENS}{instance="a",node="n",${POD}}`]: '100+60x5 0+30x10' }, [
      `{ expr: 'sum(rate(${RECORDED}[1m]))', eval_time: 60s, exp_samples: [{ value: 4 }] }`,
      `{ expr: 'sum(rate(${RECORDED}[1m])) - sum(rate(${OPENS}[1m]))', eval_time: 90s, exp_samples: [{ value: 0 }] }`,
      `{ expr: 'sum(rate(${RECORDED}[1m])) - sum(rate(${OPENS}[1m]))', eval_time: 105s, exp_samples: [{ value: 0 }] }`,
      `{ expr: 'sum(rate(${RECORDED}[1m]))', eval_time: 180s, exp_samples: [{ value: 2 }] }`,
    ]);
    expect(said).toMatch(/SUCCESS/);
  });

  it('is distinguished by node, which is the instance if the target has no label `node`', () => {
    const said = testRules(
      {
        [`${OPENS}{instance="a:9102",${POD}}`]: '1',
        [`${OPENS}{instance="b:9102",node="b",${POD}}`]: '2',
        [`${OPENS}{instance="c:9102",node="c",namespace="",pod=""}`]: '3',
      },
      [
        `{ expr: ${RECORDED}, eval_time: 0s, exp_samples: [
          { labels: '${RECORDED}{k8s_node="a:9102",k8s_namespace="shop",k8s_pod="cart-0"}', value: 1 },
          { labels: '${RECORDED}{k8s_node="b",k8s_namespace="shop",k8s_pod="cart-0"}', value: 2 },
          { labels: '${RECORDED}{k8s_node="c"}', value: 3 }] }`,
      ],
    );
    expect(said).toMatch(/SUCCESS/);
  });

  it('has the unit and the parts that KubeSkoop has', () => {
    const ours: Record<string, number> = {
      'netsonde_node_tcp_memory_bytes{}': 12_288,
      'netsonde_tcp_memory_pressure_seconds_total{}': 1.5,
      'netsonde_tcp_connections{state="established"}': 1,
      'netsonde_tcp_connections{state="syn_sent"}': 2,
      'netsonde_tcp_connections{state="syn_recv"}': 4,
      'netsonde_tcp_connections{state="time_wait"}': 8,
      'netsonde_tcp_connections{state="close_wait"}': 16,
      'netsonde_tcp_connections{state="new_syn_recv"}': 32,
      'netsonde_tcp_connections{state="listen"}': 64,
      'netsonde_packet_drops_total{reason="NETFILTER_DROP"}': 3,
      'netsonde_packet_drops_total{reason="NO_SOCKET"}': 4,
      'netsonde_netdev_received_bytes_total{device="lo"}': 100,
      'netsonde_netdev_received_bytes_total{device="eth0"}': 5,
      'netsonde_netdev_received_bytes_total{device="eth1"}': 6,
      'netsonde_rdma_port_received_bytes_total{device="mlx5_0",port="1"}': 400,
      'netsonde_rdma_port_received_bytes_total{device="erdma_0",port="1"}': 800,
      'netsonde_rdma_resources{device="rocep1s0",resource="qp"}': 9,
    };
    const theirs: Record<string, number> = {
      'kubeskoop_sock_mem{}': 3,
      'kubeskoop_tcpext_tcpmemorypressureschrono{}': 1_500,
      'kubeskoop_tcpsummary_tcpestablishedconn{}': 1,
      'kubeskoop_tcpsummary_tcpsynsentconn{}': 2,
      'kubeskoop_tcpsummary_tcpsynrecvconn{}': 36,
      'kubeskoop_tcpsummary_tcptimewaitconn{}': 8,
      'kubeskoop_tcpsummary_tcpclosewaitconn{}': 16,
      'kubeskoop_packetloss_total{}': 7,
      'kubeskoop_packetloss_netfilter{}': 3,
      'kubeskoop_netdev_rxbytes{}': 11,
      'kubeskoop_rdma_mlx5_port_rcv_data{device="mlx5_0",port="1",type="mlx5"}': 100,
      'kubeskoop_rdma_qp{device="rocep1s0",type="unknown"}': 9,
    };
    const series = Object.entries(ours).map(([name, value]) => [name, String(value)]);
    const said = testRules(
      Object.fromEntries(series),
      Object.entries(theirs).map(([sample, value]) => {
        const name = sample.replace(/\{.*/, '');
        return `{ expr: ${name}, eval_time: 0s, exp_samples: [{ labels: '${sample}', value: ${value} }] }`;
      }),
    );
    expect(said).toMatch(/SUCCESS/);
  });

  it('has a gap if a scrape failed', () => {
    const said = testRules({ [`${OPENS}{instance="a",node="n",${POD}}`]: '1 stale 3' }, [
      `{ expr: ${RECORDED}, eval_time: 15s, exp_samples: [] }`,
      `{ expr: 'sum(${RECORDED})', eval_time: 30s, exp_samples: [{ value: 3 }] }`,
    ]);
    expect(said).toMatch(/SUCCESS/);
  });
});
