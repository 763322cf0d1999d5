import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { flow } from '#probes/flow/flow.ts';
import { HARMFUL, recorded, WORKLOAD_ROW, type WorkloadMetric } from './flow_risks.ts';
import { copyLabel, type Expression, type Metric, putLabel } from './promql.ts';
import { EDGE_FAILURES_LEAST, EDGE_RETRANSMITS_LEAST, FAILED_CONNECTS, RETRANSMITTED } from './risks.ts';
import { WORKLOAD_OF_POD_RE2 } from './views.ts';

/**
 * Recording rules for the edges of the dashboard *Map*, by the names of both ends. They read the rates by workload, and
 * decide once which of two ends counts: if both report an edge, its bytes and connections are those of the client.
 */

const SOURCE = ['source_kind', 'source_namespace', 'source'] as const;
const TARGET = ['target_kind', 'target_namespace', 'target'] as const;
const ENDS = [...SOURCE, ...TARGET] as const;
/** Labels of an edge. */
export const MAP_EDGE = ['cluster', ...ENDS] as const;
/** Labels of the rates by workload that belong to one row. The zone of the peer is no part of an edge. */
const ROW = WORKLOAD_ROW.filter((label) => label !== 'peer_zone');
const SERVICE = ['cluster', 'peer_namespace', 'peer'] as const;

/** Workload behind a Service, in the label `behind`. */
const SERVICES = 'netsonde:service_workload_info';
/** Rows with traffic. */
const ROWS = 'netsonde:edge_rows_info';
/** The same rows with the kind and the name of the peer on the map, in the labels `peer_is` and `peer_as`. */
const NAMED = 'netsonde:edge_peers_info';
/** The same rows with both ends. */
const REPORTS = 'netsonde:edge_reports_info';
/** Rows that are on the map: 1, or 0 if the client reports the same edge. */
const ONCE = 'netsonde:edge_info';

/**
 * Selects rows that can be on a map: no sums over several edges, no addresses (`identity: address`), no connections of a
 * Pod with itself, and no Pod `unlisted`, which stands for namespaces without a known owner.
 */
const ON_MAP = ['workload!="unlisted"', 'peer_kind!~"|self"', 'peer!="*"'];
/**
 * Kinds of peers that may be Pods with another name. Pods with hostNetwork have the address of their node, and Pods of
 * several workloads may have the name of one Service.
 */
const VAGUE_SERVER = 'unknown|node';
const VAGUE_CLIENT = `${VAGUE_SERVER}|service`;

const list = (labels: readonly string[]) => labels.join(', ');
const on = (labels: readonly string[]) => `on (${list(labels)})`;
const group = (labels: readonly string[], text: string) => `group by (${list(labels)}) (${text})`;
const sum = (labels: readonly string[], text: string) => `sum by (${list(labels)}) (${text})`;
const any = (...texts: readonly string[]) => texts.join(' or ');

/** Returns the Services of which all Pods belong to one workload, although each agent knows only those of its node. */
function services(): string {
  const info = AGENT_METRICS.serviceWorkloads.name;
  const isOne = `count by (${list(SERVICE)}) (${group([...SERVICE, 'workload'], info)}) == 1`;
  return `${group([...SERVICE, 'behind'], copyLabel(info, 'behind', 'workload'))} and ${on(SERVICE)} (${isOne})`;
}

/** Returns the rows with traffic in the last five minutes. */
function rows(): string {
  const names = [
    'flow_sent_bytes',
    'flow_received_bytes',
    'flow_connections',
    'flow_failed_connections',
    'flow_retransmitted_segments',
  ] as const;
  return group(ROW, any(...names.map((name) => `${recorded(name, ON_MAP)} > 0`)));
}

/** Returns the rows with the peers as the map names them: by workload where it is known. */
function named(): string {
  const pods = copyLabel(`${ROWS}{peer_kind=~"pod|local"}`, 'peer_as', 'peer', WORKLOAD_OF_POD_RE2);
  const ofService = `${ROWS}{peer_kind="service"}`;
  const clear = `${ofService} * ${on(SERVICE)} group_left (behind) ${SERVICES}`;
  const others = `(${ROWS}{peer_kind!~"pod|local|service"} or (${ofService} unless ${on(SERVICE)} ${SERVICES}))`;
  const own = copyLabel(
    copyLabel(copyLabel(others, 'peer_is', 'peer_kind'), 'peer_as', 'peer_kind'),
    'peer_as',
    'peer',
    '(.+)',
  );
  return group(
    [...ROW, 'peer_is', 'peer_as'],
    any(
      putLabel(pods, 'peer_is', 'workload'),
      putLabel(copyLabel(clear, 'peer_as', 'behind'), 'peer_is', 'workload'),
      own,
    ),
  );
}

/** Returns the rows with the client as the source and the server as the target. */
function reports(): string {
  const ends = (
    role: string,
    [kind, namespace, name]: typeof SOURCE | typeof TARGET,
    peer: typeof SOURCE | typeof TARGET,
  ) => {
    const self = copyLabel(copyLabel(`${NAMED}{role="${role}"}`, name, 'workload'), namespace, 'namespace');
    const both = copyLabel(
      copyLabel(copyLabel(self, peer[0], 'peer_is'), peer[1], 'peer_namespace'),
      peer[2],
      'peer_as',
    );
    return putLabel(both, kind, 'workload');
  };
  return group([...ROW, ...ENDS], any(ends('client', SOURCE, TARGET), ends('server', TARGET, SOURCE)));
}

/** Returns the rows that are on the map. */
function once(): string {
  const [clients, servers] = [`${REPORTS}{role="client"}`, `${REPORTS}{role="server"}`];
  const ofRole = (role: string, matcher: string) => `${REPORTS}{role="${role}",${matcher}}`;
  // A client whose server has several workloads calls a Service. Any edge of this client may be the same one.
  const toService = `${on(['cluster', ...SOURCE])} ${ofRole('client', 'target_kind="service"')}`;
  const serverOnly = `${ofRole('server', `source_kind!~"${VAGUE_CLIENT}"`)} unless ${on(MAP_EDGE)} ${clients} unless ${toService}`;
  const clientOnly = `${ofRole('client', 'target_kind="workload"')} unless ${on(MAP_EDGE)} ${servers}`;
  return any(
    ofRole('client', `target_kind!~"${VAGUE_SERVER}"`),
    `(${servers} and ${on(MAP_EDGE)} ${clients}) * 0`,
    `(${serverOnly})`,
    // The vague peer is the one that only the other end names.
    `(${ofRole('client', `target_kind=~"${VAGUE_SERVER}"`)} unless ${on(['cluster', ...SOURCE, 'port'])} (${serverOnly}))`,
    `(${ofRole('server', `source_kind=~"${VAGUE_CLIENT}"`)} unless ${on(['cluster', ...TARGET])} (${clientOnly}))`,
  );
}

const withEnds = (text: string, rows: string) => `(${text}) * ${on(ROW)} group_left (${list(ENDS)}) ${rows}`;
const byRole = (client: WorkloadMetric, server: WorkloadMetric) =>
  any(recorded(client, ['role="client"']), recorded(server, ['role="server"']));
const bothEnds = (name: WorkloadMetric) => sum(MAP_EDGE, withEnds(recorded(name, []), `(${ONCE} >= bool 0)`));

/** Rates of an edge, with the metrics that they need. */
const RATES = {
  /** From the client to the server. */
  edge_sent_bytes: {
    expr: sum(MAP_EDGE, withEnds(byRole('flow_sent_bytes', 'flow_received_bytes'), ONCE)),
    metrics: [flow.metrics.sentBytes],
    unit: 'Bps',
  },
  /** From the server to the client. */
  edge_received_bytes: {
    expr: sum(MAP_EDGE, withEnds(byRole('flow_received_bytes', 'flow_sent_bytes'), ONCE)),
    metrics: [flow.metrics.receivedBytes],
    unit: 'Bps',
  },
  edge_connections: {
    expr: sum(MAP_EDGE, withEnds(recorded('flow_connections', []), ONCE)),
    metrics: [flow.metrics.connections],
    unit: 'cps',
  },
  edge_failed_connections: {
    expr: sum([...MAP_EDGE, 'cause'], withEnds(recorded('flow_failed_connections', []), ONCE)),
    metrics: [flow.metrics.failed],
    unit: 'cps',
  },
  // Segments are sums over both ends, because each end retransmits what it sends itself.
  edge_sent_segments: {
    expr: bothEnds('flow_sent_segments'),
    metrics: [flow.metrics.sentSegments],
    unit: 'pps',
  },
  edge_retransmitted_segments: {
    expr: bothEnds('flow_retransmitted_segments'),
    metrics: [flow.metrics.retransmittedSegments],
    unit: 'pps',
  },
} as const satisfies Readonly<Record<string, { expr: string; metrics: readonly Metric[]; unit: string }>>;

export type EdgeMetric = keyof typeof RATES;

const recordOf = (name: EdgeMetric) => `netsonde:${name}:rate5m`;
const TROUBLE = 'netsonde:edge_trouble';

/** Returns a recorded rate of the edges that matchers select. */
export function edgeRate(name: EdgeMetric, matchers: readonly string[]): Expression {
  const { metrics, unit } = RATES[name];
  return { text: `${recordOf(name)}{${matchers.join(',')}}`, metrics, unit };
}

/** Returns the recorded trouble of the edges that matchers select. */
export function edgeTrouble(matchers: readonly string[]): Expression {
  return { text: `${TROUBLE}{${matchers.join(',')}}`, metrics: [flow.metrics.failed], unit: 'short' };
}

/** Values of `netsonde:edge_trouble`. */
export const TROUBLES = { none: 0, notice: 1, bad: 2 } as const;

/** Returns how bad the trouble of each edge is, by the thresholds of the agent's own map. */
function trouble(): string {
  const rate = (name: EdgeMetric) => recordOf(name);
  const failed = (matcher = '') => sum(MAP_EDGE, `${rate('edge_failed_connections')}${matcher}`);
  const harm = failed(`{cause=~"${HARMFUL.join('|')}"}`);
  const opened = rate('edge_connections');
  const share = (failures: string, limit: number) => `${failures} / (${failed()} + ${opened}) >= ${limit}`;
  const again = rate('edge_retransmitted_segments');
  const lost = (limit: number) =>
    `(${again} / ${rate('edge_sent_segments')} >= ${limit} and ${again} >= ${EDGE_RETRANSMITS_LEAST} / 60)`;
  const alive = [rate('edge_sent_bytes'), rate('edge_received_bytes'), opened, failed()];
  const silent = `(${again} > 0 unless (${any(...alive.map((text) => `${text} > 0`))}))`;
  const bad = any(
    `(${share(harm, FAILED_CONNECTS.alert)} and ${harm} >= ${EDGE_FAILURES_LEAST} / 60)`,
    lost(RETRANSMITTED.alert),
    silent,
  );
  const notice = any(`(${share(failed(), FAILED_CONNECTS.notice)})`, lost(RETRANSMITTED.notice));
  const as = (text: string, value: number) => `0 * (${text}) + ${value}`;
  return any(as(bad, TROUBLES.bad), as(notice, TROUBLES.notice), `0 * ${opened}`);
}

const info = (record: string, expr: string) => ({ record, expression: { text: expr, metrics: [], unit: 'short' } });

/** The rules in the order in which they need each other. */
export const EDGE_RECORDINGS: readonly { readonly record: string; readonly expression: Expression }[] = [
  info(SERVICES, services()),
  info(ROWS, rows()),
  info(NAMED, named()),
  info(REPORTS, reports()),
  info(ONCE, once()),
  ...(Object.keys(RATES) as EdgeMetric[]).map((name) => {
    const { expr, metrics, unit } = RATES[name];
    return { record: recordOf(name), expression: { text: expr, metrics, unit } };
  }),
  info(TROUBLE, trouble()),
];
