import { flow } from '#probes/flow/flow.ts';
import { tcpconnect } from '#probes/tcpconnect.ts';
import { CART, type Case, counts, type Labels, NODE, type Series, WEB } from './alert_series.ts';

/** Cases for promtool's test of the alerts in `flow_alerts.ts`. */

const { failures, connectTime } = tcpconnect.metrics;
const { retransmittedSegments, sentSegments } = flow.metrics;

/** Returns the series of a client. */
function client(labels: Labels, established: number, failed: Readonly<Record<string, number>>): Series[] {
  return [
    ...(established === 0 ? [] : [counts(connectTime, { ...labels, role: 'client' }, established, '_count')]),
    ...Object.entries(failed).map(([cause, perSecond]) => counts(failures, { ...labels, cause }, perSecond)),
  ];
}

const EXAMPLES = Object.fromEntries(
  Object.entries(sentSegments.labels).map(([label, { example }]) => [label, example]),
);

/** Returns the series of an edge on which 100 segments per second are sent. */
function edge(labels: Labels, again: number, sent = 100): Series[] {
  const all = { ...labels, ...EXAMPLES };
  return [counts(sentSegments, all, sent), counts(retransmittedSegments, all, again)];
}

export const FLOW_CASES: readonly Case[] = [
  {
    alert: 'NetsondeConnectFailureCause',
    // No alert fires for the second Pod, which establishes most of its connections, for the node, whose application
    // gives up, or for the rare cause of the first Pod.
    series: [
      ...client(CART, 0, { refused: 1, timeout: 0.1 }),
      ...client(WEB, 10, { timeout: 1 }),
      ...client(NODE, 0, { given_up: 5 }),
    ],
    labels: { ...CART, cause: 'refused' },
    summary: 'shop/cart-0 on node n1 cannot establish 1 TCP connections a second: refused.',
  },
  {
    alert: 'NetsondeEdgeLossy',
    // No alert fires for the second edge, which retransmits less, or for the edge of the node, which is nearly idle.
    series: [...edge(CART, 8), ...edge(WEB, 4), ...edge(NODE, 0.4, 1)],
    labels: { ...CART, ...EXAMPLES },
    summary: `shop/cart-0 on node n1 retransmits 8% of its segments to ${EXAMPLES['peer']}, port ${EXAMPLES['port']} (${EXAMPLES['role']}).`,
  },
];
