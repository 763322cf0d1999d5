import { dns } from '#probes/dns/dns.ts';
import { udp } from '#probes/udp.ts';
import { dashboard } from './dashboard.ts';
import { UIDS } from './links.ts';
import { graph, HEIGHT, series, table, tile, WIDTH } from './panels.ts';
import { as, BY_ENTITY, type Expression, promql, quantile, rate, top } from './promql.ts';
import { peerGraphs, peerTable, peerTimes } from './request_peers.ts';
import {
  FAILED_QUERIES,
  failedQueries,
  failedQueryShare,
  missingNameShare,
  quantileByWorkload,
  SLOW_REQUESTS,
  workloadQueries,
} from './request_risks.ts';
import { podVariables } from './variables.ts';
import { CLUSTER, NAMESPACE, OF_POD } from './views.ts';

/** The dashboard *DNS* shows the name resolution of the selected Pods, as clients and as servers. */

const { queries, answers, unanswered, silentServers, truncated, duration, unknown } = dns.metrics;

const POD = '{{namespace}}/{{pod}}';
const MOST = 10;
const ROWS = 20;
const NO_QUERY = 'No DNS message on port 53.';
const PEERS = { what: 'queries', empty: NO_QUERY } as const;
const RULES = 'This needs the recording rules of netsonde.';
const CLIENT = { role: ['client'] } as const;
const SERVER = { role: ['server'] } as const;
/** Limits for the share of queries whose names do not exist: more than a search list with one domain causes. */
const MISSING_NAMES = [0.5, 0.8] as const;

/** Returns the share of the messages that could not be counted as queries or answers. */
function unknownShare(): Expression {
  const all = rate(queries, OF_POD, []);
  return as('percentunit', promql`(${rate(unknown, OF_POD, [])} or 0 * ${all}) / (${all} > 0)`);
}

const NOT_READ = 'DNS over TLS, HTTPS or QUIC is encrypted, is not on port 53, and is not in any panel.';

/** Returns the panel that stands beside the panels of queries. */
const notUnderstood = () =>
  graph(
    'Not understood, of the queries',
    [
      series(unknownShare(), 'all causes'),
      series(
        as(
          'percentunit',
          promql`${rate(unknown, OF_POD, ['role', 'cause'])} / on () group_left () (${rate(queries, OF_POD, [])} > 0)`,
        ),
        '{{role}} {{cause}}',
      ),
    ],
    {
      what: `Messages that the panels beside do not contain, divided by the number of queries. ${NOT_READ}`,
      empty: NO_QUERY,
    },
  );

const tiles = [
  tile('Queries sent', rate(queries, OF_POD, [], CLIENT), { empty: NO_QUERY }),
  tile('Queries received', rate(queries, OF_POD, [], SERVER), { empty: NO_QUERY }),
  tile('Failed, as client', failedQueryShare('client', OF_POD, []), {
    what: 'Share of the queries that got no answer, or one that is an error. NXDOMAIN is none.',
    empty: NO_QUERY,
    limits: [FAILED_QUERIES.notice, FAILED_QUERIES.alert],
    events: ['dns_unanswered'],
  }),
  tile('Failed, as server', failedQueryShare('server', OF_POD, []), {
    empty: NO_QUERY,
    limits: [FAILED_QUERIES.notice, FAILED_QUERIES.alert],
    events: ['dns_unanswered'],
  }),
  tile('Unknown names', missingNameShare(OF_POD, []), {
    what: 'Share of the queries of clients that were answered with NXDOMAIN. Search lists of Kubernetes cause up to four of five.',
    empty: NO_QUERY,
    limits: MISSING_NAMES,
    events: ['dns_nxdomain_storm'],
  }),
  tile('Time, as client', quantile(0.95, duration, OF_POD, [], CLIENT), {
    what: 'Time between query and answer, 95 %.',
    empty: NO_QUERY,
    limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
  }),
  tile('Time, as server', quantile(0.95, duration, OF_POD, [], SERVER), {
    what: 'Time between query and answer, 95 %.',
    empty: NO_QUERY,
    limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
  }),
  tile('Not understood', unknownShare(), { what: NOT_READ, empty: NO_QUERY }),
];

const rates = [
  graph('Queries, by type', [series(rate(queries, OF_POD, ['role', 'qtype']), '{{role}} {{qtype}}')], {
    empty: NO_QUERY,
  }),
  graph('Answers, by response code', [series(rate(answers, OF_POD, ['role', 'rcode']), '{{role}} {{rcode}}')], {
    empty: NO_QUERY,
    events: ['dns_nxdomain_storm'],
  }),
  notUnderstood(),
];

const failures = [
  graph(
    'Failed queries, by Pod',
    [
      series(top(MOST, failedQueries('client', OF_POD, BY_ENTITY)), `${POD} client`),
      series(top(MOST, failedQueries('server', OF_POD, BY_ENTITY)), `${POD} server`),
    ],
    { what: 'Without an answer, or with one that is an error.', empty: 'No query failed.', events: ['dns_unanswered'] },
  ),
  graph(
    'Unanswered queries, by Pod',
    [series(top(MOST, rate(unanswered, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    { empty: 'Every query was answered.', events: ['dns_unanswered'] },
  ),
  notUnderstood(),
];

const names = [
  graph(
    'Unknown names, by Pod',
    [series(top(MOST, rate(answers, OF_POD, BY_ENTITY, { ...CLIENT, rcode: ['nxdomain'] })), POD)],
    {
      what: 'Answers NXDOMAIN. The events name the name that a search list completes.',
      empty: 'Every name exists.',
      events: ['dns_nxdomain_storm'],
    },
  ),
  graph(
    'Truncated answers, by Pod',
    [series(top(MOST, rate(truncated, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    {
      what: 'The client asks again over TCP.',
      empty: 'No answer was truncated.',
    },
  ),
  notUnderstood(),
];

const latency = [
  graph(
    'Time to the answer',
    [
      series(quantile(0.99, duration, OF_POD, ['role']), '{{role}} 99 %'),
      series(quantile(0.5, duration, OF_POD, ['role']), '{{role}} 50 %'),
    ],
    { what: 'The difference between client and server is the time on the network.', empty: NO_QUERY },
  ),
  graph(
    'Time to the answer, 95 %, by Pod',
    [series(top(MOST, quantile(0.95, duration, OF_POD, [...BY_ENTITY, 'role'])), `${POD} {{role}}`)],
    { empty: NO_QUERY, limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert] },
  ),
  graph(
    'Datagrams that found the buffer full',
    [series(top(MOST, rate(udp.metrics.receiveBufferErrors, OF_POD, BY_ENTITY)), POD)],
    {
      what: 'A DNS server that reads too slowly drops queries here, and its clients wait for their timeout.',
      empty: 'Every datagram had room.',
    },
  ),
];

const OF_WORKLOADS = [CLUSTER, NAMESPACE, 'workload=~"$workload"'];

function workloadTable(role: 'client' | 'server') {
  const { all, failed, share } = workloadQueries(role, OF_WORKLOADS);
  return table(
    role === 'server' ? 'Workloads that answer' : 'Workloads that ask',
    [
      { title: 'Failed', expression: top(ROWS, failed), limits: [0.05, 1] },
      { title: 'Share', expression: top(ROWS, share), limits: [FAILED_QUERIES.notice, FAILED_QUERIES.alert] },
      { title: 'Queries', expression: top(ROWS, all) },
      {
        title: '95 %',
        expression: top(
          ROWS,
          quantileByWorkload(0.95, 'dns_duration_seconds_bucket', [`role="${role}"`, ...OF_WORKLOADS]),
        ),
        limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert],
      },
    ],
    { width: WIDTH.third, what: 'Values are of the last five minutes.', empty: `${NO_QUERY} ${RULES}` },
    ['cluster', 'namespace', 'workload'],
  );
}

const detail = [
  graph('Unanswered queries, by server', [series(top(MOST, rate(silentServers, OF_POD, ['server'])), '{{server}}')], {
    width: WIDTH.half,
    empty: 'Every server answered.',
    events: ['dns_unanswered'],
  }),
  graph(
    'Unanswered queries, by Pod and server',
    [series(top(MOST, rate(silentServers, OF_POD, [...BY_ENTITY, 'server'])), `${POD} {{server}}`)],
    { width: WIDTH.half, empty: 'Every server answered.', events: ['dns_unanswered'] },
  ),
  peerTimes(dns.metrics, PEERS),
];

export const dnsDashboard = dashboard({
  uid: UIDS.dns,
  title: 'DNS',
  description: 'DNS of Pods, as clients and as servers: rate, errors and duration, and what was not understood.',
  related: ['pod', 'requests'],
  variables: podVariables(),
  sections: [
    { title: 'Now', panels: tiles },
    {
      title: 'By workload',
      panels: [workloadTable('client'), workloadTable('server'), notUnderstood().height(HEIGHT.table)],
    },
    { title: 'By server', panels: [peerTable('dns', PEERS, ['role="client"']), ...peerGraphs(dns.metrics, PEERS)] },
    { title: 'Rate', panels: rates },
    { title: 'Failures', panels: failures },
    { title: 'Names', panels: names },
    { title: 'Duration', panels: latency },
    { title: 'More by server, with detail: full', folded: true, panels: detail },
  ],
});
