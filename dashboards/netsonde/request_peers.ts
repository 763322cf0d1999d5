import type { EdgeMetrics } from '#probe/request_edges.ts';
import { graph, series, table, WIDTH } from './panels.ts';
import { as, BY_ENTITY, promql, quantile, rate, top } from './promql.ts';
import { byWorkload, FAILED_REQUESTS, SLOW_REQUESTS } from './request_risks.ts';
import { CLUSTER, NAMESPACE, OF_POD } from './views.ts';

/** Panels of requests by the peer of a workload, for HTTP and DNS. */

const MOST = 10;
const ROWS = 20;
const EDGE = ['role', 'peer_kind', 'peer_namespace', 'peer', 'port'] as const;
const LINE = '{{namespace}}/{{pod}} {{role}} {{peer_namespace}} {{peer}} {{port}}';
const BY_EDGE = [...BY_ENTITY, ...EDGE] as const;
const NEEDS_FLOW = 'Requests are counted by peer while the probe flow runs.';

export interface PeerText {
  /** Plural of what is counted, such as `requests`. */
  readonly what: string;
  readonly empty: string;
}

/** Returns a table of the rates of workloads by peer. It needs the recording rules. */
export function peerTable(kind: 'http' | 'dns', { what, empty }: PeerText, only: readonly string[] = []) {
  const matchers = [...only, CLUSTER, NAMESPACE, 'workload=~"$workload"'];
  const all = byWorkload(`${kind}_edge_requests`, matchers, EDGE);
  const failed = promql`(${byWorkload(`${kind}_edge_errors`, matchers, EDGE)} or 0 * ${all})`;
  const share = as('percentunit', promql`${failed} / (${all} > 0)`);
  return table(
    `Workloads, by ${kind === 'dns' ? 'server' : 'peer'}`,
    [
      { title: 'Failed', expression: top(ROWS, failed), limits: [0.05, 1] },
      { title: 'Share', expression: top(ROWS, share), limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert] },
      { title: `${what.charAt(0).toUpperCase()}${what.slice(1)}`, expression: top(ROWS, all) },
    ],
    {
      what: `Rates of the last five minutes. As client, the peer is the one that answers; as server, the one that asks. \`*\` stands for peers without a row of their own. ${NEEDS_FLOW}`,
      empty: `${empty} ${NEEDS_FLOW} This needs the recording rules of netsonde.`,
    },
    ['cluster', 'namespace', 'workload', ...EDGE],
  );
}

/** Returns graphs of rate and failures of Pods by peer. */
export function peerGraphs(metrics: EdgeMetrics, { what, empty }: PeerText) {
  const { edgeRequests, edgeErrors } = metrics;
  const name = `${what.charAt(0).toUpperCase()}${what.slice(1)}`;
  const none = `${empty} ${NEEDS_FLOW}`;
  return [
    graph(`${name}, by Pod and peer`, [series(top(MOST, rate(edgeRequests, OF_POD, BY_EDGE)), LINE)], {
      width: WIDTH.half,
      empty: none,
    }),
    graph(`Failed ${what}, by Pod and peer`, [series(top(MOST, rate(edgeErrors, OF_POD, BY_EDGE)), LINE)], {
      width: WIDTH.half,
      empty: `None failed. ${NEEDS_FLOW}`,
    }),
  ];
}

/** Returns a graph of the time to the answer by peer, which needs `detail: full`. */
export function peerTimes({ edgeDurations }: EdgeMetrics, { empty }: PeerText) {
  return graph(
    'Time to the answer, 95 %, by Pod and peer',
    [series(top(MOST, quantile(0.95, edgeDurations, OF_POD, BY_EDGE)), LINE)],
    {
      width: WIDTH.whole,
      empty: `${empty} ${NEEDS_FLOW}`,
      limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
    },
  );
}
