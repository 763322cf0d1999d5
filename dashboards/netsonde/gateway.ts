import { flow } from '#probes/flow/flow.ts';
import { http } from '#probes/http/http.ts';
import { tcpconnect } from '#probes/tcpconnect.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { dashboard } from './dashboard.ts';
import { EDGE, EDGE_LEGEND, edgeFailures } from './flow_risks.ts';
import { UIDS } from './links.ts';
import { graph, series, tile } from './panels.ts';
import { as, BY_ENTITY, type Expression, narrow, promql, quantile, rate, top } from './promql.ts';
import { FAILED_REQUESTS, failedRequestShare, notReadShare, SLOW_REQUESTS } from './request_risks.ts';
import { notReadPanel } from './requests.ts';
import { FAILED_CONNECTS } from './risks.ts';
import { podVariables } from './variables.ts';
import { OF_POD } from './views.ts';

/**
 * The dashboard *Gateway* shows a workload that passes requests on, such as an ingress controller: clients on one side,
 * endpoints on the other.
 */

const { requests, durations } = http.metrics;
const POD = '{{namespace}}/{{pod}}';
const MOST = 10;
const NO_REQUEST = 'No HTTP request was read. The panel Not read shows why there may be some.';
const NO_CONNECTION = 'No TCP connection.';

const FROM_CLIENTS = narrow(OF_POD, 'role="server"');
const TO_ENDPOINTS = narrow(OF_POD, 'role="client"');
const SIDES = [
  { view: FROM_CLIENTS, role: 'server', name: 'from clients' },
  { view: TO_ENDPOINTS, role: 'client', name: 'to endpoints' },
] as const;
const PEERS = EDGE.filter((label) => label !== 'role' && label !== 'peer_zone');
const PEER = EDGE_LEGEND.replace('{{role}} ', '').replace(' {{peer_zone}}', '');
const { connections, failed, open } = flow.metrics;

const both = (one: (side: (typeof SIDES)[number]) => Expression, suffix = '') =>
  SIDES.map((side) => series(one(side), `${side.name}${suffix}`));

/** Returns how much longer a request takes at the clients' side than at the endpoints' side, on average. */
function ownTime(): Expression {
  const mean = ({ view }: (typeof SIDES)[number]) =>
    promql`(${rateOfSum(view)} / (${rate(requests, view, [], { status: ['1xx', '2xx', '3xx', '4xx', '5xx'] })} > 0))`;
  return as('s', promql`clamp_min(${mean(SIDES[0])} - ${mean(SIDES[1])}, 0)`);
}

function rateOfSum({ matchers, window }: (typeof SIDES)[number]['view']): Expression {
  const text = `sum (rate(${durations.name}_sum{${matchers.join(',')}}[${window}]))`;
  return { text, metrics: [durations], unit: 's' };
}

const tiles = [
  tile('From clients', rate(requests, FROM_CLIENTS, []), { empty: NO_REQUEST }),
  tile('To endpoints', rate(requests, TO_ENDPOINTS, []), { empty: NO_REQUEST }),
  tile('Failed for clients', failedRequestShare('server', OF_POD, []), {
    empty: NO_REQUEST,
    limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
    events: ['http_request_failed'],
  }),
  tile('Failed at endpoints', failedRequestShare('client', OF_POD, []), {
    empty: NO_REQUEST,
    limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
    events: ['http_request_failed'],
  }),
  tile('Time for clients', quantile(0.95, durations, FROM_CLIENTS, []), {
    what: 'Time to the first byte of the response, 95 %.',
    empty: NO_REQUEST,
    limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
    events: ['http_request_slow'],
  }),
  tile('Time at endpoints', quantile(0.95, durations, TO_ENDPOINTS, []), {
    what: 'Time to the first byte of the response, 95 %.',
    empty: NO_REQUEST,
    limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
    events: ['http_request_slow'],
  }),
  tile('Its own time', ownTime(), {
    what: 'Difference between the mean times of both sides. It includes the time to connect to an endpoint. It is too small if the gateway answers many requests itself.',
    empty: NO_REQUEST,
  }),
  tile('Not read', notReadShare(OF_POD, []), {
    what: 'Share of the TCP connections with data whose requests are not read. A gateway usually decrypts TLS itself: then only the side of the endpoints is read.',
    empty: NO_CONNECTION,
  }),
];

const sides = [
  graph(
    'Requests',
    both(({ view }) => rate(requests, view, [])),
    { empty: NO_REQUEST },
  ),
  graph('Requests, by side and status', [series(rate(requests, OF_POD, ['role', 'status']), '{{role}} {{status}}')], {
    what: 'The role `server` is the side of the clients, and `client` that of the endpoints. Failures on the first side only are made by the gateway itself.',
    empty: NO_REQUEST,
    events: ['http_request_failed'],
  }),
  notReadPanel(OF_POD),
];

const errors = [
  graph(
    'Failed share',
    both(({ role }) => failedRequestShare(role, OF_POD, [])),
    {
      empty: NO_REQUEST,
      limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
      events: ['http_request_failed'],
    },
  ),
  graph(
    'Failed connections to endpoints',
    [series(top(MOST, edgeFailures(TO_ENDPOINTS, [...PEERS, 'cause'])), `${PEER} {{cause}}`)],
    { empty: 'No connection failed.', events: ['connection_failed'] },
  ),
  notReadPanel(OF_POD),
];

const latency = [
  graph(
    'Time to the response',
    [
      ...both(({ view }) => quantile(0.95, durations, view, []), ', 95 %'),
      ...both(({ view }) => quantile(0.5, durations, view, []), ', 50 %'),
    ],
    { empty: NO_REQUEST, events: ['http_request_slow'] },
  ),
  graph(
    'Time to the response, 95 %, by Pod of the gateway',
    [series(top(MOST, quantile(0.95, durations, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    { empty: NO_REQUEST, limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert], events: ['http_request_slow'] },
  ),
  notReadPanel(OF_POD),
];

const network = [
  graph(
    'Time to connect',
    [
      series(quantile(0.95, tcpconnect.metrics.connectTime, OF_POD, ['role']), '{{role}} 95 %'),
      series(quantile(0.5, tcpconnect.metrics.connectTime, OF_POD, ['role']), '{{role}} 50 %'),
    ],
    {
      what: 'The role `client` is the side of the endpoints. One second more means that a SYN was lost, and each request on a new connection waits for it.',
      empty: 'No connection was opened.',
      limits: [1],
    },
  ),
  graph(
    'Closed windows',
    [
      series(rate(tcpext.metrics.toZeroWindow, OF_POD, []), 'the gateway reads too slowly'),
      series(rate(tcpext.metrics.windowProbes, OF_POD, []), 'the other end reads too slowly'),
    ],
    { empty: 'No window was closed.' },
  ),
  graph(
    'Listen drops, by port',
    [series(top(MOST, rate(tcpsummary.metrics.listenDrops, OF_POD, [...BY_ENTITY, 'port'])), `${POD} {{port}}`)],
    {
      what: 'Connections of clients that the gateway did not accept in time.',
      empty: 'No connection was dropped.',
      events: ['accept_queue_full'],
    },
  ),
];

const peers = [
  graph('Connections from clients', [series(top(MOST, rate(connections, FROM_CLIENTS, PEERS)), PEER)], {
    empty: NO_CONNECTION,
  }),
  graph('Connections to endpoints', [series(top(MOST, rate(connections, TO_ENDPOINTS, PEERS)), PEER)], {
    empty: NO_CONNECTION,
  }),
  graph('Open connections to endpoints', [series(top(MOST, openTo(TO_ENDPOINTS.matchers)), PEER)], {
    what: 'A gateway without a pool of connections opens one for each request.',
    empty: NO_CONNECTION,
  }),
];

function openTo(matchers: readonly string[]): Expression {
  const text = `sum by (${PEERS.join(', ')}) (${open.name}{${matchers.join(',')}})`;
  return { text, metrics: [open], unit: 'short' };
}

/** Returns the share of the connection attempts to each endpoint that failed. */
function failedConnectShare(): Expression {
  const good = rate(connections, TO_ENDPOINTS, PEERS);
  const bad = promql`(${rate(failed, TO_ENDPOINTS, PEERS)} or 0 * ${good})`;
  return as('percentunit', promql`${bad} / ((${bad} + (${good} or 0 * ${bad})) > 0)`);
}

const endpoints = [
  ...peers,
  graph('Failed share of the connections to endpoints', [series(top(MOST, failedConnectShare()), PEER)], {
    width: 24,
    empty: 'No connection failed.',
    limits: [FAILED_CONNECTS.notice, FAILED_CONNECTS.alert],
    events: ['connection_failed'],
  }),
];

export const gateway = dashboard({
  uid: UIDS.gateway,
  title: 'Gateway',
  description:
    'A workload that passes requests on, such as an ingress controller: its clients on one side, its endpoints on the other. Select it with the variable Workload.',
  related: ['requests', 'flows', 'pod'],
  variables: podVariables(),
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'Both sides', panels: sides },
    { title: 'Errors', panels: errors },
    { title: 'Duration', panels: latency },
    { title: 'TCP beside it', panels: network },
    { title: 'Clients and endpoints', panels: endpoints },
  ],
});
