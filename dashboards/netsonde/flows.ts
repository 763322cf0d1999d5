import { flow } from '#probes/flow/flow.ts';
import { tcpconnect } from '#probes/tcpconnect.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { dashboard } from './dashboard.ts';
import { edgeTable } from './edge_panels.ts';
import { OF_WORKLOADS as EDGES_OF_WORKLOADS } from './edges.ts';
import {
  byWorkload,
  connectFailures,
  connects,
  EDGE,
  EDGE_LEGEND,
  edgeFailures,
  edgeRetransmits,
  edgeRetransmitted,
} from './flow_risks.ts';
import { UIDS } from './links.ts';
import { graph, series, table, tile, WIDTH } from './panels.ts';
import { as, BY_ENTITY, type Expression, gauge, increase, promql, quantile, rate, top } from './promql.ts';
import { FAILED_CONNECTS, RETRANSMITTED } from './risks.ts';
import { podVariables } from './variables.ts';
import { CLUSTER, NAMESPACE, OF_POD, OF_POD_RANGE } from './views.ts';

/** The dashboard *Flows* shows the peers of the selected Pods. */

const BY_EDGE = [...BY_ENTITY, ...EDGE] as const;
const POD = '{{namespace}}/{{pod}}';
const LINE = `${POD} ${EDGE_LEGEND}`;
/** Maximum number of lines in a panel, and of rows that each column contributes to a table. */
const MOST = 10;
const ROWS = 20;

const NO_FAILURE = 'No connection failed.';
const NO_CONNECTION = 'No TCP connection.';
const RULES = 'This needs the recording rules of netsonde.';

const { sentBytes, receivedBytes, connections, open, failed, retransmittedSegments, roundTrip } = flow.metrics;

/** Returns the share of the attempts that failed; no value if there were none. */
function failedShare(): Expression {
  const good = rate(connections, OF_POD, []);
  const bad = promql`(${edgeFailures(OF_POD, [])} or 0 * ${good})`;
  return as('percentunit', promql`${bad} / ((${bad} + ${good}) > 0)`);
}

/** Returns the share of the bytes that have no edge of their own. */
function restShare(): Expression {
  const bytes = (only: { readonly peer?: readonly [string] }) =>
    promql`(${rate(sentBytes, OF_POD, [], only)} + ${rate(receivedBytes, OF_POD, [], only)})`;
  return as('percentunit', promql`(${bytes({ peer: ['*'] })} or 0 * ${bytes({})}) / (${bytes({})} > 0)`);
}

const tiles = [
  tile('Sent', rate(sentBytes, OF_POD, []), { empty: NO_CONNECTION }),
  tile('Received', rate(receivedBytes, OF_POD, []), { empty: NO_CONNECTION }),
  tile('Connections opened', rate(connections, OF_POD, []), { empty: NO_CONNECTION }),
  tile('Open connections', gauge('sum', open, OF_POD, []), { empty: NO_CONNECTION }),
  tile('Failed to connect', failedShare(), {
    what: 'Share of the connection attempts, of clients and servers together.',
    empty: NO_CONNECTION,
    limits: [FAILED_CONNECTS.notice, FAILED_CONNECTS.alert],
    events: ['connection_failed'],
  }),
  tile('Retransmitted', rate(retransmittedSegments, OF_POD, []), { what: 'Segments.', empty: NO_CONNECTION }),
  tile('Listen drops', rate(tcpsummary.metrics.listenDrops, OF_POD, []), {
    what: 'Connections that listening sockets dropped.',
    empty: 'No socket listens.',
    limits: [0.001, 1],
    events: ['accept_queue_full'],
  }),
  tile('Without an edge', restShare(), {
    what: 'Share of the bytes that are counted under `*`, because a Pod has more edges than it shows.',
    empty: NO_CONNECTION,
  }),
];

const worst = table(
  'Edges',
  [
    { title: 'Failed', expression: top(ROWS, increase(failed, OF_POD_RANGE, BY_EDGE)), limits: [1, 100] },
    {
      title: 'Retransmitted',
      expression: top(ROWS, increase(retransmittedSegments, OF_POD_RANGE, BY_EDGE)),
      limits: [100, 10_000],
    },
    { title: 'Connections', expression: top(ROWS, increase(connections, OF_POD_RANGE, BY_EDGE)) },
    { title: 'Sent', expression: top(ROWS, increase(sentBytes, OF_POD_RANGE, BY_EDGE)) },
    { title: 'Received', expression: top(ROWS, increase(receivedBytes, OF_POD_RANGE, BY_EDGE)) },
  ],
  {
    what: `Over the whole time shown, the first ${ROWS} by each column. An edge stands for all connections of a Pod in one role with the same peer and port. Sums over both roles count connections between two Pods twice.`,
    empty: NO_CONNECTION,
  },
);

const trouble = [
  graph('Failed connections of clients, by cause', [series(connectFailures(OF_POD, ['cause']), '{{cause}}')], {
    what: 'Without those that the application gave up.',
    stacked: true,
    empty: NO_FAILURE,
    events: ['connection_failed'],
    eventsBy: 'cause',
  }),
  graph(
    'Failed connections, by edge',
    [series(top(MOST, edgeFailures(OF_POD, [...BY_EDGE, 'cause'])), `${LINE} {{cause}}`)],
    {
      empty: NO_FAILURE,
      events: ['connection_failed'],
    },
  ),
  graph(
    'Listen drops, by port',
    [series(top(MOST, rate(tcpsummary.metrics.listenDrops, OF_POD, [...BY_ENTITY, 'port'])), `${POD} {{port}}`)],
    {
      empty: 'No connection was dropped.',
      events: ['accept_queue_full'],
    },
  ),
  graph('Retransmitted segments, by edge', [series(top(MOST, edgeRetransmits(OF_POD, BY_EDGE)), LINE)], {
    empty: 'Nothing was retransmitted.',
    events: ['connection_degraded', 'tcp_retransmit'],
  }),
  graph('Retransmitted share, by edge', [series(top(MOST, edgeRetransmitted(OF_POD, BY_EDGE)), LINE)], {
    empty: 'Nothing was retransmitted.',
    limits: [RETRANSMITTED.notice, RETRANSMITTED.alert],
    events: ['connection_degraded'],
  }),
  graph(
    'Time to connect',
    [
      series(quantile(0.99, tcpconnect.metrics.connectTime, OF_POD, ['role']), '{{role}} 99 %'),
      series(quantile(0.5, tcpconnect.metrics.connectTime, OF_POD, ['role']), '{{role}} 50 %'),
    ],
    { what: 'One second more means that a SYN was lost.', empty: 'No connection was opened.', limits: [1] },
  ),
];

const traffic = [
  graph('Bytes sent, by edge', [series(top(MOST, rate(sentBytes, OF_POD, BY_EDGE)), LINE)], {
    width: WIDTH.half,
    empty: NO_CONNECTION,
  }),
  graph('Bytes received, by edge', [series(top(MOST, rate(receivedBytes, OF_POD, BY_EDGE)), LINE)], {
    width: WIDTH.half,
    empty: NO_CONNECTION,
  }),
  graph(
    'Connections opened',
    [series(top(MOST, rate(connections, OF_POD, BY_EDGE)), LINE), series(connects(OF_POD, []), 'of all clients')],
    { width: WIDTH.half, empty: NO_CONNECTION },
  ),
  graph('Open connections, by edge', [series(top(MOST, gauge('sum', open, OF_POD, BY_EDGE)), LINE)], {
    width: WIDTH.half,
    empty: NO_CONNECTION,
  }),
];

const OF_WORKLOADS = [CLUSTER, NAMESPACE, 'workload=~"$workload"'];
const BY_WORKLOAD = ['cluster', 'namespace', 'workload', ...EDGE] as const;
const WORKLOAD_LINE = `{{namespace}}/{{workload}} ${EDGE_LEGEND}`;

const workloads = [
  edgeTable('Edges, by workload', EDGES_OF_WORKLOADS, {
    what: 'Rates of the last five minutes, by the names of both ends. An edge that both ends report is counted once.',
    empty: `${NO_CONNECTION} ${RULES}`,
  }),
  graph(
    'Bytes sent, by workload',
    [series(top(MOST, byWorkload('flow_sent_bytes', OF_WORKLOADS, BY_WORKLOAD)), WORKLOAD_LINE)],
    { empty: `${NO_CONNECTION} ${RULES}` },
  ),
  graph(
    'Bytes received, by workload',
    [series(top(MOST, byWorkload('flow_received_bytes', OF_WORKLOADS, BY_WORKLOAD)), WORKLOAD_LINE)],
    { empty: `${NO_CONNECTION} ${RULES}` },
  ),
  graph(
    'Connections opened, by workload',
    [series(top(MOST, byWorkload('flow_connections', OF_WORKLOADS, BY_WORKLOAD)), WORKLOAD_LINE)],
    { empty: `${NO_CONNECTION} ${RULES}` },
  ),
  graph(
    'Failed connections, by workload',
    [
      series(
        top(MOST, byWorkload('flow_failed_connections', OF_WORKLOADS, [...BY_WORKLOAD, 'cause'])),
        `${WORKLOAD_LINE} {{cause}}`,
      ),
    ],
    { width: WIDTH.half, empty: `${NO_FAILURE} ${RULES}` },
  ),
  graph(
    'Retransmitted segments, by workload',
    [series(top(MOST, byWorkload('flow_retransmitted_segments', OF_WORKLOADS, BY_WORKLOAD)), WORKLOAD_LINE)],
    { width: WIDTH.half, empty: `Nothing was retransmitted. ${RULES}` },
  ),
];

const detail = [
  graph('Round-trip time, 99 %, by edge', [series(top(MOST, quantile(0.99, roundTrip, OF_POD, BY_EDGE)), LINE)], {
    what: 'With delayed acknowledgements of up to 40 ms.',
    empty: 'Nothing was measured in this time.',
  }),
  graph(
    'Limited by the receiver, by edge',
    [series(top(MOST, rate(flow.metrics.receiverLimitedSeconds, OF_POD, BY_EDGE)), LINE)],
    {
      what: 'Share of the time, added up over the connections of an edge, in which the window of the receiver was full: it reads too slowly.',
      empty: 'No receiver was a limit.',
    },
  ),
  graph(
    'Limited by the send buffer, by edge',
    [series(top(MOST, rate(flow.metrics.sendBufferLimitedSeconds, OF_POD, BY_EDGE)), LINE)],
    {
      empty: 'No send buffer was a limit.',
    },
  ),
];

export const flows = dashboard({
  uid: UIDS.flows,
  title: 'Flows',
  description: 'TCP connections of Pods: with whom, how much, and how well.',
  related: ['map', 'pod'],
  variables: podVariables(),
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'Where', panels: [worst] },
    { title: 'Trouble', panels: trouble },
    { title: 'Traffic', panels: traffic },
    { title: 'By workload', panels: workloads },
    { title: 'More about each edge, with detail: full', folded: true, panels: detail },
  ],
});
