import type { Alert } from './alerts.ts';
import { connectFailures, connects, EDGE, edgeRetransmits, edgeRetransmitted } from './flow_risks.ts';
import { ALL, WHO } from './probe_alerts.ts';
import { BY_ENTITY, promql } from './promql.ts';
import { FAILED_CONNECTS, FAILED_CONNECTS_LEAST, RETRANSMITS_LEAST, RETRANSMITTED } from './risks.ts';

/** Alerts on TCP connections with particular causes, peers or ports. */

const BY_EDGE = [...BY_ENTITY, ...EDGE] as const;
const BY_CAUSE = [...BY_ENTITY, 'cause'] as const;
/** Number of connections that are established for each failed one at the threshold. */
const GOOD_PER_FAILED = 1 / FAILED_CONNECTS.alert - 1;

export const FLOW_ALERTS: readonly Alert[] = [
  {
    name: 'NetsondeConnectFailureCause',
    severity: 'warning',
    // A Pod that has established no connection has no series for established connections, so a division has no value.
    expression: promql`${connectFailures(ALL, BY_CAUSE)} > ${FAILED_CONNECTS_LEAST} unless on (cluster, node, namespace, pod) ${connects(ALL, BY_ENTITY)} > ${GOOD_PER_FAILED} * ${connectFailures(ALL, BY_ENTITY)}`,
    for: '10m',
    summary: `${WHO} cannot establish {{ $value | humanize }} TCP connections a second: {{ $labels.cause }}.`,
    description:
      'At least a fifth of its attempts fail. refused: nothing listens there, or a rule rejects it. timeout: packets are dropped, by a policy or on the path. unreachable: no neighbour or no route. no_port: its local ports are used up. The events of type connection_failed name the peers.',
  },
  {
    name: 'NetsondeEdgeLossy',
    severity: 'warning',
    expression: promql`${edgeRetransmitted(ALL, BY_EDGE)} > ${RETRANSMITTED.alert} and ${edgeRetransmits(ALL, BY_EDGE)} > ${RETRANSMITS_LEAST}`,
    for: '10m',
    summary: `${WHO} retransmits {{ $value | humanizePercentage }} of its segments to {{ $labels.peer }}, port {{ $labels.port }} ({{ $labels.role }}).`,
    description:
      'Packets to this peer are lost. If other peers of the Pod are not affected, look at the peer and at the path to it; if all are, at the Pod and its node.',
  },
];
