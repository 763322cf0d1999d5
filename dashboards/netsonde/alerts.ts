import { SELF_METRICS } from '#collectors/self.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { changes } from '#probes/changes/changes.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { qdisc } from '#probes/qdisc.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { EDGE_RECORDINGS } from './edge_rules.ts';
import { FLOW_ALERTS } from './flow_alerts.ts';
import { WORKLOAD_RECORDINGS } from './flow_risks.ts';
import { AGENT_JOB, UP } from './foreign.ts';
import { ALL, NODES, PODS, probeAlerts, WHO } from './probe_alerts.ts';
import { BY_ENTITY, BY_NODE, type Expression, gauge, increase, narrow, promql, rate, type View } from './promql.ts';
import { REQUEST_ALERTS } from './request_alerts.ts';
import { REQUEST_RECORDINGS } from './request_risks.ts';
import {
  BACKLOG_DROPS,
  backlogDrops,
  CONNTRACK,
  conntrackUse,
  FAILED_CONNECTS,
  FAILED_CONNECTS_LEAST,
  failedConnectShare,
  failedConnects,
  isState,
  LOSS,
  listenOverflows,
  RESETS,
  RETRANSMITS_LEAST,
  RETRANSMITTED,
  receiveDrops,
  retransmits,
  retransmitted,
  untracked,
} from './risks.ts';

/**
 * The alerts. The severity `critical` means that many Pods are affected and someone must act immediately. `warning`
 * means that one application or one agent is affected, which can wait until working hours. `info` needs no
 * notification.
 */

const RUNBOOK = 'https://github.com/netsonde/netsonde/blob/main/docs/runbook.md';

export interface Alert {
  readonly name: `Netsonde${string}`;
  readonly severity: 'critical' | 'warning' | 'info';
  readonly expression: Expression;
  /** Time for which the condition must hold before the alert fires. */
  readonly for: string;
  /** One line that names the subject and the problem, with labels and value. */
  readonly summary: string;
  /** Meaning of the alert, and a remedy. */
  readonly description: string;
}

interface Recording {
  readonly record: string;
  readonly expression: Expression;
}

const LONG: View = { matchers: [], window: '15m' };
const PERCENT = '{{ $value | humanizePercentage }}';
const RATE = '{{ $value | humanize }}';

/**
 * Name of the recorded share of retransmitted segments. The share is recorded because two alerts use it, because
 * computing it for all Pods is expensive, and because it is useful over long periods.
 */
const RETRANSMITTED_RECORD = 'netsonde:tcp_retransmitted:ratio_rate5m';
const RATES: readonly Recording[] = [
  {
    record: RETRANSMITTED_RECORD,
    expression: promql`${retransmitted(ALL, BY_ENTITY)} and ${retransmits(ALL, BY_ENTITY)} > ${RETRANSMITS_LEAST}`,
  },
  ...WORKLOAD_RECORDINGS,
  ...REQUEST_RECORDINGS,
];
export const RECORDINGS: readonly Recording[] = [...RATES, ...EDGE_RECORDINGS];

/** Groups of rules, in the order in which they need each other. */
export const GROUPS = {
  rates: 'netsonde',
  edges: 'netsonde_edges',
  network: 'netsonde_network',
  agent: 'netsonde_agent',
} as const;

/**
 * Factor by which the thresholds of a node are higher than those of a Pod, because a node receives scans and health
 * checks for everything on it.
 */
const NODE_FACTOR = 10;
const drops = (view: View) => rate(packetloss.metrics.drops, view, [...BY_ENTITY, 'reason']);
const resets = (view: View) =>
  rate(tcpreset.metrics.resets, view, [...BY_ENTITY, 'direction', 'reason'], { outcome: ['cut_off'] });

/** The alert on lossy Pods fires if at least this share, and at least this number, of the sending Pods lose packets. */
const LOSSY_PODS = { share: 0.2, least: 3 };
const lossy: Expression = {
  text: `count by (cluster, node) (${RETRANSMITTED_RECORD}{pod!=""} > ${RETRANSMITTED.alert})`,
  metrics: [],
  unit: 'short',
};
const sending = promql`count by (cluster, node) (${retransmitted(PODS, BY_ENTITY)})`;

/**
 * Causes of incidents that make an alert: the node has seen what fails, and it does not happen in normal operation.
 * Others are symptoms, or are alerted on per Pod.
 */
const INCIDENT_CAUSES = [
  'accept_queue',
  'conntrack_full',
  'firewall',
  'mtu',
  'route',
  'full_queue',
  'no_port',
] as const;

const NETWORK: readonly Alert[] = [
  {
    name: 'NetsondeNodeLossy',
    severity: 'critical',
    expression: promql`${lossy} / ${sending} > ${LOSSY_PODS.share} and ${lossy} >= ${LOSSY_PODS.least}`,
    for: '5m',
    summary: `${PERCENT} of the Pods on node {{ $labels.node }} retransmit more than ${RETRANSMITTED.alert * 100} % of their segments.`,
    description:
      'Packets of many Pods are lost: the cause is the network, not an application. Check on the node dashboard whether its CPUs or devices drop packets; if not, whether other nodes of the same rack or zone are affected. Move Pods away (cordon, drain) if it is only this node.',
  },
  {
    name: 'NetsondeConntrackFull',
    severity: 'critical',
    expression: promql`${conntrackUse(NODES, ALL)} > ${CONNTRACK.alert}`,
    for: '2m',
    summary: `Node {{ $labels.node }} has used ${PERCENT} of its connection tracking table.`,
    description:
      'Once the table is full, new connections of all Pods on the node fail, those to DNS first. Raise net.netfilter.nf_conntrack_max on the node now; then find the Pods with the most connections on the node dashboard.',
  },
  {
    name: 'NetsondeBacklogOverrun',
    severity: 'critical',
    expression: promql`${backlogDrops(NODES, BY_NODE)} > ${BACKLOG_DROPS.alert}`,
    for: '10m',
    summary: `The CPUs of node {{ $labels.node }} drop ${RATE} received packets a second.`,
    description:
      'Every Pod on the node loses packets. Check whether one CPU processes all packets (enable RPS or more queues) or all CPUs are busy (move Pods away); net.core.netdev_max_backlog helps only against bursts.',
  },
  {
    name: 'NetsondeNeighbourTableFull',
    severity: 'critical',
    expression: promql`${rate(changes.metrics.neighbourOverflows, NODES, [...BY_NODE, 'family'])} > 0`,
    for: '2m',
    summary: `The {{ $labels.family }} neighbour table of node {{ $labels.node }} is full: it refuses ${RATE} entries a second.`,
    description:
      'Packets to addresses that are not in the table are dropped, of every Pod. Raise net.ipv4.neigh.default.gc_thresh1, 2 and 3 (or those of ipv6) now; then see whether one network is larger than it need be, or somebody scans it.',
  },
  {
    name: 'NetsondeConntrackFilling',
    severity: 'warning',
    expression: promql`${conntrackUse(ALL, ALL)} > ${CONNTRACK.notice}`,
    for: '10m',
    summary: `${WHO} has used ${PERCENT} of its connection tracking table.`,
    description:
      'Raise net.netfilter.nf_conntrack_max before the table is full, and find the Pods that open so many connections.',
  },
  {
    name: 'NetsondeNotTracked',
    severity: 'warning',
    expression: promql`${untracked(ALL, BY_ENTITY)} > 1`,
    for: '10m',
    summary: `${WHO}: ${RATE} connections or packets a second found no room in connection tracking.`,
    description:
      'Their first packet is lost, so connecting takes a second or more. If the table is not full, usually two DNS queries from one port race: use a node-local DNS cache, or single-request-reopen.',
  },
  {
    name: 'NetsondePacketDrops',
    severity: 'warning',
    expression: promql`${drops(PODS)} > ${LOSS.alert} or ${drops(NODES)} > ${LOSS.alert * NODE_FACTOR}`,
    for: '10m',
    summary: `${WHO} loses ${RATE} packets a second: {{ $labels.reason }}.`,
    description:
      'docs/drop-reasons.md explains the reason and what to check. The events of type packet_drop show addresses, device and kernel function of each drop.',
  },
  {
    name: 'NetsondeTcpResets',
    severity: 'warning',
    expression: promql`${resets(PODS)} > ${RESETS.alert} or ${resets(NODES)} > ${RESETS.alert * NODE_FACTOR}`,
    for: '10m',
    summary: `${WHO}: ${RATE} TCP resets {{ $labels.direction }} a second cut something off: {{ $labels.reason }}.`,
    description:
      'The reason shows whether the port has no listener, the application closed with unread data, or the other end gave up; resets of an orderly end are left out. The events of type tcp_reset name the process and the peer.',
  },
  {
    name: 'NetsondeTcpRetransmits',
    severity: 'warning',
    expression: {
      text: `${RETRANSMITTED_RECORD} > ${RETRANSMITTED.alert}`,
      metrics: [],
      unit: 'percentunit',
    },
    for: '10m',
    summary: `${WHO} retransmits ${PERCENT} of its TCP segments, not counting those that had arrived.`,
    description:
      'Packets are lost on the path to its peers; segments that had arrived (DSACK) are not counted. The events of type tcp_retransmit name the peers: one peer points to that peer or its path, all peers point to this Pod or its node.',
  },
  {
    name: 'NetsondeConnectFailures',
    severity: 'warning',
    expression: promql`${failedConnectShare(ALL, BY_ENTITY)} > ${FAILED_CONNECTS.alert} and ${failedConnects(ALL, BY_ENTITY)} > ${FAILED_CONNECTS_LEAST}`,
    for: '10m',
    summary: `${WHO}: ${PERCENT} of the TCP connections fail before they are established.`,
    description:
      'Received resets with reason refused mean that nothing listens there. Retransmits of kind syn mean that packets are dropped, by a policy or on the path.',
  },
  {
    name: 'NetsondeListenOverflow',
    severity: 'warning',
    expression: promql`${listenOverflows(ALL, BY_ENTITY)} > 0`,
    // The time is longer than the window of the rate, so that a single dropped connection does not cause an alert.
    for: '10m',
    summary: `${WHO} drops ${RATE} connections a second because its accept queue is full.`,
    description:
      'The application accepts too slowly: it is busy, blocked, or throttled by its CPU limit. Its clients wait a second or more. The events of type accept_queue_full name the port; a larger backlog (and net.core.somaxconn) helps only against bursts.',
  },
  {
    name: 'NetsondeAcceptQueueFull',
    severity: 'warning',
    // If several sockets listen on a port, one that hangs refuses its share of the clients, even if the other sockets
    // work.
    expression: promql`${gauge('max', tcpsummary.metrics.acceptQueueFullest, ALL, [...BY_ENTITY, 'port'])} >= 1`,
    for: '2m',
    summary: `${WHO} does not accept connections on port {{ $labels.port }}: an accept queue has been full for two minutes.`,
    description:
      'A listening process or thread hangs, or is throttled by its CPU limit. If several sockets listen on the port (SO_REUSEPORT), the others continue, and a share of the clients waits. ss -ltn shows the sockets one by one.',
  },
  {
    name: 'NetsondeReceiveDrops',
    severity: 'warning',
    expression: promql`${receiveDrops(ALL, BY_ENTITY)} > 1`,
    for: '10m',
    summary: `${WHO} drops ${RATE} TCP segments a second because they are not read in time.`,
    description:
      'The application reads too slowly, or the receive buffer is too small. Switch on socketlatency for its namespace for 15 minutes to see which process reads late, and by how much.',
  },
  {
    name: 'NetsondeQdiscDrops',
    severity: 'warning',
    expression: promql`${rate(qdisc.metrics.drops, NODES, [...BY_NODE, 'device', 'kind'])} > 10`,
    for: '15m',
    summary: `{{ $labels.device }} of node {{ $labels.node }} drops ${RATE} packets a second ({{ $labels.kind }}).`,
    description:
      'The node sends more than the device, or its shaping, lets through. The node dashboard shows which Pods send; netiftxlatency shows how long packets wait.',
  },
  {
    name: 'NetsondeIncidents',
    severity: 'warning',
    expression: promql`${increase(AGENT_METRICS.incidents, LONG, [...BY_NODE, 'cause'], { cause: INCIDENT_CAUSES })} > 3`,
    for: '5m',
    summary: `Node {{ $labels.node }} had ${RATE} incidents with the cause {{ $labels.cause }} in 15 minutes.`,
    description:
      'Several pairs of a client and a server have the same problem. The tab Incidents of the agent, and netsonde incidents, name both ends and the network policy that denies the connection, if there is one.',
  },
];

const OF_JOB = narrow(ALL, AGENT_JOB);

const AGENT: readonly Alert[] = [
  {
    name: 'NetsondeAgentDown',
    severity: 'warning',
    expression: promql`${gauge('max', UP, OF_JOB, [...BY_NODE, 'instance'])} == 0`,
    for: '10m',
    summary: 'Prometheus cannot scrape netsonde on node {{ $labels.node }} ({{ $labels.instance }}).',
    description:
      'The node is not observed, and no other alert can fire for it. Check whether the Pod of the agent runs, and read its log; readiness is /readyz.',
  },
  {
    name: 'NetsondePageOld',
    severity: 'warning',
    expression: promql`${gauge('max', AGENT_METRICS.pageAge, ALL, BY_NODE)} > 60`,
    for: '5m',
    summary: 'netsonde on node {{ $labels.node }} shows numbers that are {{ $value | humanizeDuration }} old.',
    description:
      'Its kernel thread does not answer. The agent replaces the thread by itself, unless threads are stuck. Restart the agent, and keep its log.',
  },
  {
    name: 'NetsondeProbeFailed',
    severity: 'warning',
    expression: promql`${isState('failed', ALL, [...BY_NODE, 'probe'])} == 1`,
    for: '10m',
    summary: 'The probe {{ $labels.probe }} has failed on node {{ $labels.node }}.',
    description:
      'The numbers of the probe are missing. The reason is on /api/v1/probes of the agent and in its log; the agent retries by itself.',
  },
  {
    name: 'NetsondeCollectFailures',
    severity: 'warning',
    expression: promql`${increase(SELF_METRICS.collectFailures, LONG, [...BY_NODE, 'probe'])} > 3`,
    for: '5m',
    summary: 'Collections of the probe {{ $labels.probe }} fail on node {{ $labels.node }}.',
    description: 'Its numbers have gaps. The log of the agent gives the reason, which may be a timeout.',
  },
  {
    name: 'NetsondeEventsLost',
    severity: 'warning',
    expression: promql`${rate(AGENT_METRICS.dropped, ALL, [...BY_NODE, 'sink', 'stage', 'reason'])} > 0`,
    for: '10m',
    summary: `netsonde on node {{ $labels.node }} loses ${RATE} events a second{{ if $labels.sink }} for {{ $labels.sink }}{{ end }}: {{ $labels.reason }}.`,
    description:
      'ring_full means more events than the agent can read from the kernel: lower the limit of the probe. queue_full and write_failed mean that the sink is slow or down. Counts in the metrics are not affected.',
  },
  {
    name: 'NetsondeSinkFailed',
    severity: 'warning',
    expression: promql`${gauge('max', AGENT_METRICS.sinkState, ALL, [...BY_NODE, 'sink'], { state: ['failed'] })} == 1`,
    for: '5m',
    summary: 'The sink {{ $labels.sink }} of netsonde on node {{ $labels.node }} accepts no events.',
    description:
      'Events wait until its queue is full; then the oldest are lost. The reason is on /api/v1/sinks. The agent keeps retrying.',
  },
  {
    name: 'NetsondeKubernetesAway',
    severity: 'warning',
    expression: promql`${gauge('min', AGENT_METRICS.connected, ALL, BY_NODE)} == 0`,
    for: '10m',
    summary: 'netsonde on node {{ $labels.node }} learns nothing about its Pods from the Kubernetes API.',
    description:
      'New Pods are shown by their UID, and numbers continue. The reason is on /api/v1/agent: the API is away or refuses the agent, it has no node of this name, or the agent has no token.',
  },
  {
    name: 'NetsondeConfigRefused',
    severity: 'warning',
    expression: promql`${gauge('min', AGENT_METRICS.configSuccessful, ALL, BY_NODE)} == 0`,
    for: '5m',
    summary: 'netsonde on node {{ $labels.node }} has refused its last configuration.',
    description: 'The previous configuration stays in force. /api/v1/config and the log list every fault.',
  },
  {
    name: 'NetsondeProbeDegraded',
    severity: 'info',
    expression: promql`${isState('degraded', ALL, [...BY_NODE, 'probe'])} == 1`,
    for: '1h',
    summary: 'The probe {{ $labels.probe }} sees less than it could on node {{ $labels.node }}.',
    description: 'A kernel feature or a right that it needs is missing. The reason is on /api/v1/probes.',
  },
  {
    name: 'NetsondeLabelOverflow',
    severity: 'info',
    expression: promql`${increase(SELF_METRICS.overflow, LONG, [...BY_NODE, 'metric', 'label'])} > 0`,
    for: '1h',
    summary: '{{ $labels.metric }} has more values of {{ $labels.label }} than are shown on node {{ $labels.node }}.',
    description: 'Further values are added up under `*`, and sums stay exact.',
  },
  {
    name: 'NetsondeSeriesFolded',
    severity: 'warning',
    expression: promql`${increase(SELF_METRICS.seriesFolded, LONG, [...BY_NODE, 'what'])} > 0`,
    for: '5m',
    summary: 'The page of node {{ $labels.node }} reached limits.series: {{ $labels.what }} were folded into *.',
    description: 'Sums stay exact. Raise `limits.series`, or show less: docs/scale.md says what to leave out.',
  },
];

const OF_PROBES = probeAlerts();

export const ALERTS: readonly Alert[] = [...NETWORK, ...AGENT, ...FLOW_ALERTS, ...REQUEST_ALERTS, ...OF_PROBES];

/** Returns the anchor of the alert's heading in docs/runbook.md. */
export function anchor({ name }: Alert): string {
  return name.toLowerCase();
}

export function annotationsOf(alert: Alert) {
  const { summary, description } = alert;
  return { summary, description, runbook_url: `${RUNBOOK}#${anchor(alert)}` };
}

function alertRule(alert: Alert) {
  return {
    alert: alert.name,
    expr: alert.expression.text,
    for: alert.for,
    labels: { severity: alert.severity },
    annotations: annotationsOf(alert),
  };
}

/**
 * Returns the rules in Prometheus' format (https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/).
 */
export function rules() {
  const recordingRule = ({ record, expression }: Recording) => ({ record, expr: expression.text });
  return {
    groups: [
      { name: GROUPS.rates, rules: RATES.map(recordingRule) },
      { name: GROUPS.edges, rules: EDGE_RECORDINGS.map(recordingRule) },
      { name: GROUPS.network, rules: [...NETWORK, ...FLOW_ALERTS, ...REQUEST_ALERTS, ...OF_PROBES].map(alertRule) },
      { name: GROUPS.agent, rules: AGENT.map(alertRule) },
    ],
  };
}
