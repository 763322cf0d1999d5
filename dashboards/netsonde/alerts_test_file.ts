import { SELF_METRICS } from '#collectors/self.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { changes } from '#probes/changes/changes.ts';
import { conntrack } from '#probes/conntrack/conntrack.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { qdisc } from '#probes/qdisc.ts';
import { softnet } from '#probes/softnet.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import {
  CART,
  type Case,
  counts,
  type Labels,
  NODE,
  OTHER_NODE,
  type Series,
  shows,
  TARGET,
  WEB,
} from './alert_series.ts';
import { ALERTS, annotationsOf, GROUPS } from './alerts.ts';
import { EDGE_CASES, edgeTest } from './edge_cases.ts';
import { FLOW_CASES } from './flow_cases.ts';
import { UP } from './foreign.ts';
import { type DeclaredAlert, declaredAlerts, summaryText } from './probe_alerts.ts';
import { REQUEST_CASES } from './request_cases.ts';

/**
 * Generates promtool's test of the rules. For each alert, one series must trigger it, and one just below the threshold
 * must not.
 */

/** Labels of an agent's own metrics, whose namespace and Pod are those of the agent. */
const AGENT = { ...TARGET, namespace: 'netsonde', pod: 'netsonde-abcde', instance: '10.0.0.1:9102' };
const OTHER_AGENT = { ...AGENT, node: 'n2', pod: 'netsonde-fghij', instance: '10.0.0.2:9102' };

/**
 * Returns the series of a Pod that sends 100 segments per second and retransmits some of them.
 * @param needless retransmissions per second of segments that had arrived
 */
function sender(labels: Labels, again: number, needless?: number): Series[] {
  return [
    counts(tcp.metrics.sentSegments, labels, 100),
    counts(tcp.metrics.retransmittedSegments, labels, again),
    // Without the probe tcpext, the number of needless retransmissions is unknown.
    ...(needless === undefined ? [] : [counts(tcpext.metrics.dsackReceived, labels, needless)]),
  ];
}

function opener(labels: Labels, opened: number, failed: number): Series[] {
  return [
    counts(tcp.metrics.activeOpens, labels, opened),
    counts(tcp.metrics.passiveOpens, labels, 0),
    counts(tcp.metrics.attemptFails, labels, failed),
  ];
}

function table(labels: Labels, entries: number): Series {
  return shows(conntrack.metrics.entries, labels, entries);
}

const CONNTRACK_LIMITS = [NODE, OTHER_NODE].map((labels) => shows(conntrack.metrics.limit, labels, 1000));

function failures(labels: Labels, drops: number): Series[] {
  const { drop, earlyDrop, insertFailed } = conntrack.metrics;
  return [counts(drop, labels, drops), counts(earlyDrop, labels, 0), counts(insertFailed, labels, 0)];
}

function resets(labels: Labels, direction: string, reason: string, perSecond: number, outcome = 'cut_off'): Series {
  return counts(tcpreset.metrics.resets, { ...labels, direction, reason, outcome }, perSecond);
}

const sentAgain = (labels: Labels) => sender(labels, 10);
const pods = (count: number, node: Labels) =>
  Array.from({ length: count }, (_, index) => ({ ...node, namespace: 'shop', pod: `p-${index}` }));

const WRITTEN: readonly Case[] = [
  {
    alert: 'NetsondeNodeLossy',
    // Three of ten Pods on one node are lossy, and two of two Pods on another.
    series: [
      ...pods(3, NODE).flatMap(sentAgain),
      ...pods(10, NODE)
        .slice(3)
        .flatMap((pod) => sender(pod, 0)),
      ...pods(2, OTHER_NODE).flatMap(sentAgain),
    ],
    labels: TARGET,
    summary: '30% of the Pods on node n1 retransmit more than 5 % of their segments.',
  },
  {
    alert: 'NetsondeConntrackFull',
    // The alert does not cover the table of a Pod.
    series: [...CONNTRACK_LIMITS, table(NODE, 960), table(OTHER_NODE, 940), table(CART, 990)],
    labels: TARGET,
    summary: 'Node n1 has used 96% of its connection tracking table.',
  },
  {
    alert: 'NetsondeBacklogOverrun',
    series: [
      counts(softnet.metrics.dropped, { ...NODE, cpu: '0' }, 0.6),
      counts(softnet.metrics.dropped, { ...NODE, cpu: '1' }, 0.6),
      counts(softnet.metrics.dropped, { ...OTHER_NODE, cpu: '0' }, 0.9),
    ],
    labels: TARGET,
    summary: 'The CPUs of node n1 drop 1.2 received packets a second.',
  },
  {
    alert: 'NetsondeNeighbourTableFull',
    series: [
      counts(changes.metrics.neighbourOverflows, { ...NODE, family: 'ipv4' }, 3),
      counts(changes.metrics.neighbourOverflows, { ...NODE, family: 'ipv6' }, 0),
      counts(changes.metrics.neighbourOverflows, { ...OTHER_NODE, family: 'ipv4' }, 0),
    ],
    labels: { ...TARGET, family: 'ipv4' },
    summary: 'The ipv4 neighbour table of node n1 is full: it refuses 3 entries a second.',
  },
  {
    alert: 'NetsondeConntrackFilling',
    series: [...CONNTRACK_LIMITS, table(CART, 850), table(NODE, 790)],
    labels: CART,
    summary: 'shop/cart-0 on node n1 has used 85% of its connection tracking table.',
  },
  {
    alert: 'NetsondeNotTracked',
    series: [...failures(NODE, 2), ...failures(CART, 0.5)],
    labels: TARGET,
    summary: 'Node n1: 2 connections or packets a second found no room in connection tracking.',
  },
  {
    alert: 'NetsondePacketDrops',
    series: [
      counts(packetloss.metrics.drops, { ...CART, reason: 'NETFILTER_DROP' }, 12),
      counts(packetloss.metrics.drops, { ...CART, reason: 'NO_SOCKET' }, 5),
      counts(packetloss.metrics.drops, { ...WEB, reason: 'NETFILTER_DROP' }, 9),
      counts(packetloss.metrics.drops, { ...NODE, reason: 'NO_SOCKET' }, 90),
    ],
    labels: { ...CART, reason: 'NETFILTER_DROP' },
    summary: 'shop/cart-0 on node n1 loses 12 packets a second: NETFILTER_DROP.',
  },
  {
    alert: 'NetsondeTcpResets',
    series: [
      resets(NODE, 'sent', 'NO_SOCKET', 60),
      resets(OTHER_NODE, 'sent', 'NO_SOCKET', 40),
      resets(WEB, 'received', 'refused', 4),
      resets(CART, 'sent', 'TCP_ABORT_ON_DATA', 60, 'orderly'),
    ],
    labels: { ...TARGET, direction: 'sent', reason: 'NO_SOCKET' },
    summary: 'Node n1: 60 TCP resets sent a second cut something off: NO_SOCKET.',
  },
  {
    alert: 'NetsondeTcpRetransmits',
    // Most retransmissions of the second Pod are needless.
    series: [...sender(CART, 7, 1), ...sender(WEB, 30, 26)],
    labels: CART,
    summary: 'shop/cart-0 on node n1 retransmits 6% of its TCP segments, not counting those that had arrived.',
  },
  {
    alert: 'NetsondeConnectFailures',
    // The second Pod's connections fail as often, but it opens more of them. The node's connections always fail, but
    // only once in ten seconds.
    series: [...opener(CART, 4, 1), ...opener(WEB, 10, 1), ...opener(NODE, 0.1, 0.1)],
    labels: CART,
    summary: 'shop/cart-0 on node n1: 25% of the TCP connections fail before they are established.',
  },
  {
    alert: 'NetsondeListenOverflow',
    series: [counts(tcpext.metrics.listenOverflows, CART, 0.05), counts(tcpext.metrics.listenOverflows, WEB, 0)],
    labels: CART,
    summary: 'shop/cart-0 on node n1 drops 50m connections a second because its accept queue is full.',
  },
  {
    alert: 'NetsondeAcceptQueueFull',
    // A single socket of eight hangs, so all queues together are only 14 % full.
    series: [
      shows(tcpsummary.metrics.acceptQueueFullest, { ...CART, port: '80' }, 1),
      shows(tcpsummary.metrics.acceptQueueLength, { ...CART, port: '80' }, 9),
      shows(tcpsummary.metrics.acceptQueueLimit, { ...CART, port: '80' }, 64),
      shows(tcpsummary.metrics.acceptQueueFullest, { ...WEB, port: '80' }, 0.98),
    ],
    labels: { ...CART, port: '80' },
    summary:
      'shop/cart-0 on node n1 does not accept connections on port 80: an accept queue has been full for two minutes.',
  },
  {
    alert: 'NetsondeReceiveDrops',
    series: [
      counts(tcpext.metrics.receiveQueueDrops, CART, 1),
      counts(tcpext.metrics.backlogDrops, CART, 0.5),
      counts(tcpext.metrics.receiveQueueDrops, WEB, 0.9),
      counts(tcpext.metrics.backlogDrops, WEB, 0),
    ],
    labels: CART,
    summary: 'shop/cart-0 on node n1 drops 1.5 TCP segments a second because they are not read in time.',
  },

  {
    alert: 'NetsondeQdiscDrops',
    series: [
      counts(qdisc.metrics.drops, { ...NODE, device: 'eth0', kind: 'mq' }, 20),
      counts(qdisc.metrics.drops, { ...NODE, device: 'eth1', kind: 'mq' }, 9),
      counts(qdisc.metrics.drops, { ...CART, device: 'eth0', kind: 'tbf' }, 50),
    ],
    labels: { ...TARGET, device: 'eth0', kind: 'mq' },
    summary: 'eth0 of node n1 drops 20 packets a second (mq).',
  },
  {
    alert: 'NetsondeIncidents',
    series: [
      counts(AGENT_METRICS.incidents, { ...AGENT, cause: 'firewall' }, 0.01),
      counts(AGENT_METRICS.incidents, { ...AGENT, cause: 'mtu' }, 0.002),
      counts(AGENT_METRICS.incidents, { ...AGENT, cause: 'loss' }, 1),
      counts(AGENT_METRICS.incidents, { ...OTHER_AGENT, cause: 'firewall' }, 0.002),
    ],
    labels: { ...TARGET, cause: 'firewall' },
    summary: 'Node n1 had 9 incidents with the cause firewall in 15 minutes.',
  },

  {
    alert: 'NetsondeAgentDown',
    series: [
      shows(UP, { ...AGENT, job: 'netsonde/netsonde' }, 0),
      shows(UP, { ...OTHER_AGENT, job: 'netsonde/netsonde' }, 1),
      shows(UP, { ...AGENT, job: 'kubelet' }, 0),
    ],
    labels: { ...TARGET, instance: AGENT.instance },
    summary: 'Prometheus cannot scrape netsonde on node n1 (10.0.0.1:9102).',
  },
  {
    alert: 'NetsondePageOld',
    series: [shows(AGENT_METRICS.pageAge, AGENT, 90), shows(AGENT_METRICS.pageAge, OTHER_AGENT, 30)],
    labels: TARGET,
    summary: 'netsonde on node n1 shows numbers that are 1m 30s old.',
  },
  {
    alert: 'NetsondeProbeFailed',
    series: [
      shows(SELF_METRICS.probeState, { ...AGENT, probe: 'packetloss', state: 'failed' }, 1),
      shows(SELF_METRICS.probeState, { ...AGENT, probe: 'packetloss', state: 'running' }, 0),
      shows(SELF_METRICS.probeState, { ...OTHER_AGENT, probe: 'packetloss', state: 'failed' }, 0),
      shows(SELF_METRICS.probeState, { ...OTHER_AGENT, probe: 'packetloss', state: 'unsupported' }, 1),
    ],
    labels: { ...TARGET, probe: 'packetloss' },
    summary: 'The probe packetloss has failed on node n1.',
  },
  {
    alert: 'NetsondeCollectFailures',
    series: [
      counts(SELF_METRICS.collectFailures, { ...AGENT, probe: 'tcp' }, 0.01),
      counts(SELF_METRICS.collectFailures, { ...AGENT, probe: 'udp' }, 0.002),
    ],
    labels: { ...TARGET, probe: 'tcp' },
    summary: 'Collections of the probe tcp fail on node n1.',
  },
  {
    alert: 'NetsondeEventsLost',
    series: [
      counts(
        AGENT_METRICS.dropped,
        { ...AGENT, probe: 'packetloss', sink: 'stdout', stage: 'sink', reason: 'write_failed' },
        2,
      ),
      counts(
        AGENT_METRICS.dropped,
        { ...AGENT, probe: 'packetloss', sink: '', stage: 'kernel', reason: 'ring_full' },
        0,
      ),
    ],
    labels: { ...TARGET, sink: 'stdout', stage: 'sink', reason: 'write_failed' },
    summary: 'netsonde on node n1 loses 2 events a second for stdout: write_failed.',
  },
  {
    alert: 'NetsondeSinkFailed',
    series: [
      shows(AGENT_METRICS.sinkState, { ...AGENT, sink: 'loki', state: 'failed' }, 1),
      shows(AGENT_METRICS.sinkState, { ...AGENT, sink: 'loki', state: 'running' }, 0),
      shows(AGENT_METRICS.sinkState, { ...OTHER_AGENT, sink: 'loki', state: 'failed' }, 0),
    ],
    labels: { ...TARGET, sink: 'loki' },
    summary: 'The sink loki of netsonde on node n1 accepts no events.',
  },
  {
    alert: 'NetsondeKubernetesAway',
    series: [shows(AGENT_METRICS.connected, AGENT, 0), shows(AGENT_METRICS.connected, OTHER_AGENT, 1)],
    labels: TARGET,
    summary: 'netsonde on node n1 learns nothing about its Pods from the Kubernetes API.',
  },
  {
    alert: 'NetsondeConfigRefused',
    series: [shows(AGENT_METRICS.configSuccessful, AGENT, 0), shows(AGENT_METRICS.configSuccessful, OTHER_AGENT, 1)],
    labels: TARGET,
    summary: 'netsonde on node n1 has refused its last configuration.',
  },
  {
    alert: 'NetsondeProbeDegraded',
    series: [
      shows(SELF_METRICS.probeState, { ...AGENT, probe: 'tcp', state: 'degraded' }, 1),
      shows(SELF_METRICS.probeState, { ...OTHER_AGENT, probe: 'tcp', state: 'degraded' }, 0),
    ],
    labels: { ...TARGET, probe: 'tcp' },
    summary: 'The probe tcp sees less than it could on node n1.',
  },
  {
    alert: 'NetsondeLabelOverflow',
    series: [
      counts(SELF_METRICS.overflow, { ...AGENT, metric: 'netsonde_qdisc_drops_total', label: 'device' }, 1),
      counts(SELF_METRICS.overflow, { ...AGENT, metric: 'netsonde_qdisc_drops_total', label: 'kind' }, 0),
    ],
    labels: { ...TARGET, metric: 'netsonde_qdisc_drops_total', label: 'device' },
    summary: 'netsonde_qdisc_drops_total has more values of device than are shown on node n1.',
  },
  {
    alert: 'NetsondeSeriesFolded',
    series: [
      counts(SELF_METRICS.seriesFolded, { ...AGENT, what: 'edges' }, 1),
      counts(SELF_METRICS.seriesFolded, { ...AGENT, what: 'labels' }, 0),
    ],
    labels: { ...TARGET, what: 'edges' },
    summary: 'The page of node n1 reached limits.series: edges were folded into *.',
  },
];

/**
 * Returns a case for an alert that a probe declares: a Pod or node above the threshold, and another one just below it.
 */
function caseOf({ alert, metric, labels }: DeclaredAlert): Case {
  const [one, other] = alert.only === 'node' ? [NODE, OTHER_NODE] : [CART, WEB];
  const isRate = alert.of === 'rate';
  const value = alert.above === 0 ? 1 : alert.above * (isRate ? 2 : 1.05);
  const series = (who: Labels, at: number) =>
    isRate ? counts(metric, { ...who, ...labels }, at) : shows(metric, { ...who, ...labels }, at);
  const kept = Object.fromEntries((alert.by ?? []).map((label) => [label, labels[label] ?? '']));
  return {
    alert: alert.name,
    series: [series(one, value), series(other, alert.above * 0.95)],
    labels: { ...one, ...kept },
    summary: summaryText(alert, alert.only === 'node' ? 'Node n1' : 'shop/cart-0 on node n1', labels, value),
  };
}

export const CASES: readonly Case[] = [...WRITTEN, ...FLOW_CASES, ...REQUEST_CASES, ...declaredAlerts().map(caseOf)];

function minutes(duration: string): number {
  const value = Number.parseInt(duration, 10);
  return duration.endsWith('h') ? value * 60 : value;
}

/** Time in minutes, after an alert's `for` has passed, by which the alert must fire. */
const SETTLED_MINUTES = 20;

function testOf({ alert: name, series, labels, summary }: Case) {
  const alert = ALERTS.find((candidate) => candidate.name === name);
  if (alert === undefined) throw new Error(`there is no alert ${name}`);
  const known = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
  const forMinutes = minutes(alert.for);
  return {
    name,
    interval: '1m',
    input_series: series.map(({ metric, labels, values, suffix = '' }) => ({
      series: `${metric.name}${suffix}${rendered(labels)}`,
      values,
    })),
    alert_rule_test: [
      // A rate exists only after a minute.
      { alertname: name, eval_time: `${forMinutes - 1}m`, exp_alerts: [] },
      {
        alertname: name,
        eval_time: `${forMinutes + SETTLED_MINUTES}m`,
        exp_alerts: [
          {
            exp_labels: { severity: alert.severity, ...known },
            exp_annotations: { ...annotationsOf(alert), summary },
          },
        ],
      },
    ],
  };
}

function rendered(labels: Labels): string {
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;
}

/**
 * Returns the test file in promtool's format
 * (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/).
 */
export function alertsTestFile(ruleFile: string) {
  return {
    rule_files: [ruleFile],
    evaluation_interval: '1m',
    group_eval_order: Object.values(GROUPS),
    tests: [...CASES.map(testOf), ...EDGE_CASES.map((each) => edgeTest(each, rendered))],
  };
}
