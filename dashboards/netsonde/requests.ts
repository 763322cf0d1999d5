import { http } from '#probes/http/http.ts';
import { dashboard } from './dashboard.ts';
import { grpcPanels } from './grpc.ts';
import { UIDS } from './links.ts';
import { graph, HEIGHT, series, table, tile, WIDTH } from './panels.ts';
import { BY_ENTITY, type Expression, gauge, quantile, rate, top, type View } from './promql.ts';
import { peerGraphs, peerTable, peerTimes } from './request_peers.ts';
import {
  FAILED_REQUESTS,
  failedRequestShare,
  failedRequests,
  HTTP_FAILURES,
  notRead,
  notReadShare,
  quantileByWorkload,
  SLOW_REQUESTS,
  workloadRequests,
} from './request_risks.ts';
import { podVariables } from './variables.ts';
import { CLUSTER, NAMESPACE, OF_POD } from './views.ts';

/** The dashboard *Requests* shows the HTTP requests of the selected Pods. */

const { requests, responses, durations, open, unknown } = http.metrics;

const POD = '{{namespace}}/{{pod}}';
/** Maximum number of lines in a panel, and of rows that each column contributes to a table. */
const MOST = 10;
const ROWS = 20;
const NO_REQUEST = 'No HTTP request was read. The panel Not read shows why there may be some.';
const NO_CONNECTION = 'No connection with data was opened.';
const PEERS = { what: 'requests', empty: NO_REQUEST } as const;
const RULES = 'This needs the recording rules of netsonde.';

/** Returns the panel that stands beside all panels of requests, so that missing requests do not look like none. */
export function notReadPanel(view: View) {
  return graph(
    'Not read',
    Object.entries(notRead(view, [])).map(([name, expression]) => series(expression, name)),
    {
      what: 'Shares of what the panels beside do not contain. `encrypted`, `other` (no known protocol) and `late` (older than netsonde) are shares of all TCP connections with data since the agents started; `unknown` is the share of the requests without a known status.',
      empty: NO_CONNECTION,
      max: 1,
    },
  );
}

const shareTile = (role: 'client' | 'server') =>
  tile(role === 'server' ? 'Failed, as server' : 'Failed, as client', failedRequestShare(role, OF_POD, []), {
    what: `Share of the requests with the status ${HTTP_FAILURES[role].join(' or ')}.`,
    empty: NO_REQUEST,
    limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
    events: ['http_request_failed'],
  });
const slowTile = (role: 'client' | 'server') =>
  tile(
    role === 'server' ? 'Time, as server' : 'Time, as client',
    quantile(0.95, durations, OF_POD, [], { role: [role] }),
    {
      what: 'Time to the first byte of the response, 95 %.',
      empty: NO_REQUEST,
      limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
      events: ['http_request_slow'],
    },
  );

const tiles = [
  tile('Served', rate(requests, OF_POD, [], { role: ['server'] }), { empty: NO_REQUEST }),
  tile('Sent', rate(requests, OF_POD, [], { role: ['client'] }), { empty: NO_REQUEST }),
  shareTile('server'),
  shareTile('client'),
  slowTile('server'),
  slowTile('client'),
  tile('Open', gauge('sum', open, OF_POD, []), { what: 'Requests without a response yet.', empty: NO_REQUEST }),
  tile('Not read', notReadShare(OF_POD, []), {
    what: 'Share of the TCP connections with data whose requests are not read.',
    empty: NO_CONNECTION,
  }),
];

const rates = [
  graph('Requests, by role and status', [series(rate(requests, OF_POD, ['role', 'status']), '{{role}} {{status}}')], {
    what: 'A request between two selected Pods is counted once as client and once as server.',
    empty: NO_REQUEST,
    events: ['http_request_failed'],
  }),
  graph('Requests, by Pod', [series(top(MOST, rate(requests, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)], {
    empty: NO_REQUEST,
  }),
  notReadPanel(OF_POD),
];

const failedLines = (one: (role: 'client' | 'server') => Expression) =>
  (['server', 'client'] as const).map((role) => series(top(MOST, one(role)), `${POD} ${role}`));

const errors = [
  graph(
    'Failed requests, by Pod',
    failedLines((role) => failedRequests(role, OF_POD, BY_ENTITY)),
    {
      what: 'As server: responses with a 5xx status. As client: also requests without a response.',
      empty: 'No request failed.',
      events: ['http_request_failed'],
    },
  ),
  graph(
    'Failed share, by Pod',
    failedLines((role) => failedRequestShare(role, OF_POD, BY_ENTITY)),
    {
      empty: 'No request failed.',
      limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
      events: ['http_request_failed'],
    },
  ),
  notReadPanel(OF_POD),
];

const latency = [
  graph(
    'Time to the response',
    [
      series(quantile(0.99, durations, OF_POD, ['role', 'status']), '{{role}} {{status}} 99 %'),
      series(quantile(0.5, durations, OF_POD, ['role', 'status']), '{{role}} {{status}} 50 %'),
    ],
    {
      what: 'Between two selected Pods, the difference between client and server is the time on the network.',
      empty: NO_REQUEST,
      events: ['http_request_slow'],
    },
  ),
  graph(
    'Time to the response, 95 %, by Pod',
    [series(top(MOST, quantile(0.95, durations, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    { empty: NO_REQUEST, limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert], events: ['http_request_slow'] },
  ),
  notReadPanel(OF_POD),
];

const saturation = [
  graph(
    'Open requests, by Pod',
    [series(top(MOST, gauge('sum', open, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    {
      what: 'Long polls stay open. A number that only rises belongs to a server that no longer responds.',
      empty: 'No request is open.',
    },
  ),
  graph('Not understood, by cause', [series(rate(unknown, OF_POD, ['role', 'cause']), '{{role}} {{cause}}')], {
    empty: 'Everything was understood.',
  }),
  notReadPanel(OF_POD),
];

const OF_WORKLOADS = [CLUSTER, NAMESPACE, 'workload=~"$workload"'];
const WORKLOAD_LABELS = ['cluster', 'namespace', 'workload'];

/** Returns a table of the workloads in one role. */
function workloadTable(role: 'client' | 'server') {
  const { all, failed, share } = workloadRequests(role, OF_WORKLOADS);
  return table(
    role === 'server' ? 'Workloads that serve' : 'Workloads that send',
    [
      { title: 'Failed', expression: top(ROWS, failed), limits: [0.05, 1] },
      { title: 'Share', expression: top(ROWS, share), limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert] },
      { title: 'Requests', expression: top(ROWS, all) },
      {
        title: '95 %',
        expression: top(
          ROWS,
          quantileByWorkload(0.95, 'http_duration_seconds_bucket', [`role="${role}"`, ...OF_WORKLOADS]),
        ),
        limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
      },
    ],
    { width: WIDTH.third, what: 'Values are of the last five minutes.', empty: `${NO_REQUEST} ${RULES}` },
    WORKLOAD_LABELS,
  );
}

const workloads = [workloadTable('server'), workloadTable('client'), notReadPanel(OF_POD).height(HEIGHT.table)];

const detail = [
  graph(
    'Responses, by method and code',
    [series(rate(responses, OF_POD, ['role', 'method', 'code']), '{{role}} {{method}} {{code}}')],
    {
      width: WIDTH.half,
      empty: NO_REQUEST,
      events: ['http_request_failed'],
    },
  ),
  graph(
    'Server errors, by Pod, method and code',
    [series(top(MOST, errorCodes()), `${POD} {{role}} {{method}} {{code}}`)],
    { width: WIDTH.half, empty: 'No server error.', events: ['http_request_failed'] },
  ),
  peerTimes(http.metrics, PEERS),
];

function errorCodes(): Expression {
  const view = { ...OF_POD, matchers: [...OF_POD.matchers, 'code=~"5.."'] };
  return rate(responses, view, [...BY_ENTITY, 'role', 'method', 'code']);
}

export const requestsDashboard = dashboard({
  uid: UIDS.requests,
  title: 'Requests',
  description: 'HTTP requests of Pods: rate, errors and duration, and the share of the traffic that is not read.',
  related: ['pod', 'flows', 'dns', 'gateway'],
  variables: podVariables(),
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'By workload', panels: workloads },
    { title: 'By peer', panels: [peerTable('http', PEERS), ...peerGraphs(http.metrics, PEERS)] },
    { title: 'gRPC', panels: grpcPanels },
    { title: 'Rate', panels: rates },
    { title: 'Errors', panels: errors },
    { title: 'Duration', panels: latency },
    { title: 'Open and not understood', panels: saturation },
    { title: 'By method, code and peer, with detail: full', folded: true, panels: detail },
  ],
});
