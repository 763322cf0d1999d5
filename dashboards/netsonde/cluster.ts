import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { netdev } from '#probes/netdev/netdev.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { softnet } from '#probes/softnet.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpretrans } from '#probes/tcpretrans.ts';
import { dashboard } from './dashboard.ts';
import { AGENT_JOB, UP } from './foreign.ts';
import { toAgents, toNodes, toPods, UIDS } from './links.ts';
import { OF_SCOPE, ratesByType } from './logql.ts';
import { eventGraph, graph, series, table, tile, WIDTH } from './panels.ts';
import { BY_ENTITY, BY_NODE, gauge, increase, narrow, promql, rate, top } from './promql.ts';
import {
  BACKLOG_DROPS,
  backlogDrops,
  CONNTRACK,
  conntrackUse,
  countOf,
  FAILED_CONNECTS,
  FAILED_CONNECTS_LEAST,
  failedConnectShare,
  failedConnects,
  isState,
  LOSS,
  listenOverflows,
  loss,
  notablyRetransmitted,
  RESETS,
  RETRANSMITS_LEAST,
  RETRANSMITTED,
  receiveDrops,
  resets,
  retransmits,
  retransmitted,
  untracked,
} from './risks.ts';
import { VARIABLES } from './variables.ts';
import { IS_POD, OF_AGENT, OF_CLUSTER, OF_CLUSTER_RANGE, ON_NODE, ON_NODE_RANGE } from './views.ts';

const PODS_NOW = narrow(OF_CLUSTER, IS_POD);
const PODS = narrow(OF_CLUSTER_RANGE, IS_POD);
/** Selects nodes regardless of the selected namespace, because a node affects Pods of all namespaces. */
const NODES = narrow(ON_NODE_RANGE, 'pod=""');
const ROWS = 20;

const NONE_LOST = 'No packet was lost.';

const blind = promql`${isState('failed', OF_AGENT, BY_NODE)} == 1 or ${gauge('min', UP, narrow(OF_AGENT, AGENT_JOB), BY_NODE)} == 0`;

/** The tiles show the number of affected Pods, however many packets each of them loses. */
const tiles = [
  tile('Pods losing packets', countOf(promql`${loss(PODS_NOW, BY_ENTITY)} > ${LOSS.notice}`, OF_AGENT), {
    what: `Pods that lose more than ${LOSS.notice} packet a second.`,
    limits: [1, 10],
    opens: toPods,
    events: ['packet_drop'],
  }),
  tile(
    'Pods retransmitting',
    countOf(
      promql`${retransmitted(PODS_NOW, BY_ENTITY)} > ${RETRANSMITTED.notice} and ${retransmits(PODS_NOW, BY_ENTITY)} > ${RETRANSMITS_LEAST}`,
      OF_AGENT,
    ),
    {
      what: `Pods that retransmit more than ${RETRANSMITTED.notice * 100} % of their TCP segments.`,
      limits: [1, 10],
      opens: toPods,
      events: ['tcp_retransmit'],
    },
  ),
  tile('Pods with resets', countOf(promql`${resets(PODS_NOW, BY_ENTITY)} > ${RESETS.notice}`, OF_AGENT), {
    what: `Pods with more than ${RESETS.notice} TCP reset a second that cuts something off, sent or received.`,
    limits: [1, 10],
    opens: toPods,
    events: ['tcp_reset'],
  }),
  tile(
    'Pods failing to connect',
    countOf(
      promql`${failedConnectShare(PODS_NOW, BY_ENTITY)} > ${FAILED_CONNECTS.notice} and ${failedConnects(PODS_NOW, BY_ENTITY)} > ${FAILED_CONNECTS_LEAST}`,
      OF_AGENT,
    ),
    {
      what: `Pods where more than ${FAILED_CONNECTS.notice * 100} % of the TCP connections fail before they are established.`,
      limits: [1, 10],
      opens: toPods,
      events: ['tcp_reset'],
    },
  ),
  tile('Accept queues full', countOf(promql`${listenOverflows(OF_CLUSTER, BY_ENTITY)} > 0`, OF_AGENT), {
    what: 'Pods, or nodes themselves, with a server that accepts too slowly: its clients wait a second or more for a connection.',
    limits: [1, 5],
    opens: toPods,
  }),
  tile('Fullest conntrack', promql`max(${conntrackUse(OF_CLUSTER, ON_NODE)})`, {
    what: 'The fullest table of connections anywhere. A full table accepts no new connection.',
    empty: 'Nothing is tracked.',
    limits: [CONNTRACK.notice, CONNTRACK.alert],
    opens: toNodes,
    events: ['conntrack_pressure'],
  }),
  tile('Nodes overrun', countOf(promql`${backlogDrops(ON_NODE, BY_NODE)} > ${BACKLOG_DROPS.notice}`, OF_AGENT), {
    what: 'Nodes whose CPUs drop received packets because they cannot keep up: every Pod there is affected.',
    limits: [1, 3],
    opens: toNodes,
  }),
  tile('Nodes with missing numbers', countOf(blind, OF_AGENT), {
    what: 'Nodes whose agent is down, or has a failed probe: their numbers are missing here.',
    limits: [1, 5],
    opens: toAgents,
  }),
];

const graphs = [
  graph('Incidents, by cause', [series(increase(AGENT_METRICS.incidents, OF_AGENT, ['cause']), '{{cause}}')], {
    what: 'An incident is all events between a client and a port of a server, with the cause that explains most of them. The page of each agent names both ends.',
    stacked: true,
    empty: 'There was no incident.',
    width: WIDTH.half,
  }),
  graph('Open incidents, by node', [series(gauge('sum', AGENT_METRICS.incidentsOpen, OF_AGENT, BY_NODE), '{{node}}')], {
    what: 'Pairs of a client and a port of a server with events in the last half minute.',
    empty: 'There is no incident.',
    width: WIDTH.half,
  }),
  graph('Packets lost, by reason', [series(rate(packetloss.metrics.drops, OF_CLUSTER, ['reason']), '{{reason}}')], {
    stacked: true,
    empty: NONE_LOST,
    events: ['packet_drop'],
    eventsBy: 'reason',
  }),
  graph(
    'Resets, by direction and reason',
    [series(rate(tcpreset.metrics.resets, OF_CLUSTER, ['direction', 'reason']), '{{direction}} {{reason}}')],
    { stacked: true, empty: 'No connection was reset.', events: ['tcp_reset'], eventsBy: 'reason' },
  ),
  graph('Retransmissions, by cause', [series(rate(tcpretrans.metrics.retransmits, OF_CLUSTER, ['kind']), '{{kind}}')], {
    what: 'rto and syn: no answer arrived at all. fast: single packets were lost. synack: the client does not answer. tlp: the acknowledgement is late, mostly without a loss. mtu: a link on the path takes only smaller packets.',
    stacked: true,
    empty: 'Nothing was retransmitted.',
    events: ['tcp_retransmit'],
    eventsBy: 'kind',
  }),
  graph(
    'Needless retransmissions',
    [
      series(rate(tcp.metrics.retransmittedSegments, OF_CLUSTER, []), 'retransmitted'),
      series(rate(tcpext.metrics.dsackReceived, OF_CLUSTER, []), 'needless: had arrived (DSACK)'),
      series(rate(tcpext.metrics.lossProbeRecoveries, OF_CLUSTER, []), 'lost, and repaired by a loss probe'),
    ],
    { width: WIDTH.whole },
  ),
  graph(
    'Accept queue full, by Pod',
    [series(top(10, rate(tcpext.metrics.listenOverflows, OF_CLUSTER, BY_ENTITY)), '{{node}} {{namespace}}/{{pod}}')],
    { empty: 'No accept queue was full.' },
  ),
  graph(
    'Fullest connection tracking tables',
    [series(promql`topk(5, ${conntrackUse(OF_CLUSTER, ON_NODE)})`, '{{node}} {{namespace}}/{{pod}}')],
    {
      empty: 'Nothing is tracked.',
      limits: [CONNTRACK.notice, CONNTRACK.alert],
      max: 1,
      events: ['conntrack_pressure'],
    },
  ),
  eventGraph('Events, by type', ratesByType(OF_SCOPE), {
    width: 8,
    what: 'From Loki, without events that limits held back.',
  }),
];

const worstPods = table(
  'Worst Pods',
  [
    { title: 'Lost', expression: top(ROWS, increase(packetloss.metrics.drops, PODS, BY_ENTITY)), limits: [10, 1_000] },
    { title: 'Resets', expression: top(ROWS, increase(tcpreset.metrics.resets, PODS, BY_ENTITY)), limits: [10, 1_000] },
    {
      title: 'Retransmitted',
      expression: top(ROWS, notablyRetransmitted(PODS, BY_ENTITY)),
      limits: [RETRANSMITTED.notice, RETRANSMITTED.alert],
    },
    {
      title: 'Failed connections',
      expression: top(ROWS, increase(tcp.metrics.attemptFails, PODS, BY_ENTITY)),
      limits: [10, 1_000],
    },
    {
      title: 'Accept queue full',
      expression: top(ROWS, increase(tcpext.metrics.listenOverflows, PODS, BY_ENTITY)),
      limits: [1, 100],
    },
    { title: 'Dropped unread', expression: top(ROWS, receiveDrops(PODS, BY_ENTITY, increase)), limits: [1, 100] },
  ],
  {
    what: `Over the whole time shown, the first ${ROWS} by each column. A click on a Pod opens it.`,
    empty: 'Nothing went wrong in any Pod.',
  },
);

const worstNodes = table(
  'Worst nodes',
  [
    {
      title: 'Backlog overrun',
      expression: top(ROWS, increase(softnet.metrics.dropped, NODES, BY_NODE)),
      limits: [1, 1_000],
    },
    {
      title: 'Conntrack',
      expression: top(ROWS, conntrackUse(NODES, ON_NODE)),
      limits: [CONNTRACK.notice, CONNTRACK.alert],
    },
    { title: 'Not tracked', expression: top(ROWS, untracked(NODES, BY_NODE, increase)), limits: [1, 1_000] },
    {
      title: 'Lost by the node',
      expression: top(ROWS, increase(packetloss.metrics.drops, NODES, BY_NODE)),
      limits: [100, 10_000],
    },
    {
      title: 'Retransmitted',
      expression: top(ROWS, notablyRetransmitted(NODES, BY_NODE)),
      limits: [RETRANSMITTED.notice, RETRANSMITTED.alert],
    },
    {
      title: 'Dropped by devices',
      expression: top(ROWS, increase(netdev.metrics.receivedDrops, NODES, BY_NODE)),
      limits: [100, 10_000],
    },
    {
      title: 'Out of time',
      expression: top(ROWS, increase(softnet.metrics.timeSqueezed, NODES, BY_NODE)),
      limits: [1_000, 100_000],
    },
  ],
  {
    what: `Over the whole time shown, the first ${ROWS} by each column. A click on a node opens it.`,
    empty: 'Nothing went wrong on any node.',
  },
);

export const cluster = dashboard({
  uid: UIDS.cluster,
  title: 'Cluster',
  description: 'Pods and nodes that lose, reset and delay packets. Start here.',
  variables: [VARIABLES.datasource(), VARIABLES.loki(), VARIABLES.cluster(), VARIABLES.node(), VARIABLES.namespace()],
  sections: [
    { title: 'Affected now', panels: tiles },
    { title: 'Where', panels: [worstPods, worstNodes] },
    { title: 'Over time', panels: graphs },
  ],
});
