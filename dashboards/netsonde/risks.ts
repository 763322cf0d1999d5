import { SELF_METRICS } from '#collectors/self.ts';
import type { Limit } from '#core/limits.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { conntrack } from '#probes/conntrack/conntrack.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { softnet } from '#probes/softnet.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import {
  as,
  BY_ENTITY,
  BY_NODE,
  type Expression,
  gauge,
  increase,
  promql,
  rate,
  type TargetLabel,
  type View,
} from './promql.ts';

export {
  CONNTRACK,
  EDGE_FAILURES_LEAST,
  EDGE_RETRANSMITS_LEAST,
  FAILED_CONNECTS,
  FAILED_CONNECTS_LEAST,
  type Limit,
  LOSS,
  RESETS,
  RETRANSMITS_LEAST,
  RETRANSMITTED,
} from '#core/limits.ts';

/** Queries and thresholds for problems that dashboards and alerts share. */

type By = readonly TargetLabel[];

/** Minimum number of retransmitted segments within a table's time range. */
const RETRANSMITS_NOTABLE = 10;
/** Limits for dropped packets per second on one node. Occasional bursts are normal. */
export const BACKLOG_DROPS: Limit = { notice: 0.1, alert: 1 };

export const loss = (view: View, by: By): Expression => rate(packetloss.metrics.drops, view, by);

/** Returns resets with the outcome `cut_off`. */
export const resets = (view: View, by: By): Expression =>
  rate(tcpreset.metrics.resets, view, by, { outcome: ['cut_off'] });

/** Returns retransmissions. Needless ones (DSACK) are subtracted if their number is known. */
function withoutNeedless(view: View, by: By, count: typeof rate): Expression {
  const all = count(tcp.metrics.retransmittedSegments, view, by);
  const needless = count(tcpext.metrics.dsackReceived, view, by);
  return promql`clamp_min(${all} - (${needless} or 0 * ${all}), 0)`;
}

export const retransmits = (view: View, by: By): Expression => withoutNeedless(view, by, rate);

/** Returns the retransmitted share of the sent segments; no value if none were sent. */
export function retransmitted(view: View, by: By): Expression {
  const sent = rate(tcp.metrics.sentSegments, view, by);
  return as('percentunit', promql`${retransmits(view, by)} / (${sent} > 0)`);
}

/** Returns the retransmitted share for a table. Pods that retransmitted only a few segments are excluded. */
export function notablyRetransmitted(view: View, by: By): Expression {
  return promql`${retransmitted(view, by)} and ${withoutNeedless(view, by, increase)} > ${RETRANSMITS_NOTABLE}`;
}

export const failedConnects = (view: View, by: By): Expression => rate(tcp.metrics.attemptFails, view, by);

/**
 * Returns the share of failed connections among all outgoing and incoming connections, because the kernel counts the
 * failures of both together (kernel: net/ipv4/tcp.c, tcp_done(); tcp_minisocks.c, tcp_check_req()).
 */
export function failedConnectShare(view: View, by: By): Expression {
  const { activeOpens, passiveOpens } = tcp.metrics;
  const opened = promql`${rate(activeOpens, view, by)} + ${rate(passiveOpens, view, by)}`;
  return as('percentunit', promql`${failedConnects(view, by)} / ((${opened}) > 0)`);
}

export const listenOverflows = (view: View, by: By): Expression => rate(tcpext.metrics.listenOverflows, view, by);

/** Returns packets and entries that connection tracking dropped, and entries that it could not insert. */
export function untracked(view: View, by: By, count: typeof rate = rate): Expression {
  const { drop, earlyDrop, insertFailed } = conntrack.metrics;
  return promql`${count(drop, view, by)} + ${count(earlyDrop, view, by)} + ${count(insertFailed, view, by)}`;
}

/**
 * Returns the fill level of each network namespace's table, which is its number of entries divided by the machine's
 * limit. A limit of 0 means that there is none.
 * @param machines view that selects the limits, whose series have no namespace and no Pod
 */
export function conntrackUse(view: View, machines: View): Expression {
  const { entries, limit } = conntrack.metrics;
  const limits = promql`(${gauge('max', limit, machines, BY_NODE)} > 0)`;
  return as(
    'percentunit',
    promql`${gauge('max', entries, view, BY_ENTITY)} / on (cluster, node) group_left () ${limits}`,
  );
}

export const backlogDrops = (view: View, by: By): Expression => rate(softnet.metrics.dropped, view, by);

/** Returns segments that were dropped because a process read its data too slowly. */
export function receiveDrops(view: View, by: By, count: typeof rate = rate): Expression {
  const { receiveQueueDrops, backlogDrops: busy } = tcpext.metrics;
  return promql`${count(receiveQueueDrops, view, by)} + ${count(busy, view, by)}`;
}

/**
 * Returns 1 if the probe is in the state. If `by` does not contain the label `probe`, returns 1 if any probe is in the
 * state.
 */
export const isState = (state: 'failed' | 'degraded', view: View, by: readonly ('probe' | TargetLabel)[]): Expression =>
  gauge('max', SELF_METRICS.probeState, view, by, { state: [state] });

/** Counts the results of an expression. If there are no results but there are agents, returns 0. */
export function countOf(expression: Expression, view: View): Expression {
  const none = gauge('max', AGENT_METRICS.buildInfo, view, []);
  return { ...promql`count(${expression}) or 0 * ${none}`, metrics: expression.metrics, unit: 'short' };
}
