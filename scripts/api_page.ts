import type * as z from 'zod';
import { FAILURE } from '#api/errors.ts';
import { EVENT } from '#api/events.ts';
import { COMMON_STATUSES, ROUTES, type Route } from '#api/routes.ts';
import {
  CONNECTIONS_MAX,
  FIRST_REQUEST_MS,
  NEWCOMERS_MAX,
  PIPELINED_MAX,
  UNREAD_BYTES_MAX,
  UNREAD_MS,
} from '#http/connections.ts';
import { PAGES_MAX } from '#kernel/client.ts';
import { fieldTable } from './field_table.ts';
import { table } from './markdown.ts';

const MIB = 1024 * 1024;
const SECOND = 1_000;

const OTHER_PATHS: readonly (readonly string[])[] = [
  ['`/`', 'the [web page](page.md), which shows live events, Pods, probes, the event ledger and the configuration'],
  [
    '`/metrics`',
    'the [metrics](metrics.md) in the Prometheus text format, or in OpenMetrics if the client prefers it, compressed with gzip on request. A client that sends `X-Prometheus-Scrape-Timeout-Seconds` sees each new counter series [with the value 0 first](adr/0022-born-at-zero.md)',
  ],
  ['`/healthz`', '200 as long as the main thread responds'],
  ['`/readyz`', '503 until the first scan is complete and the first configuration is applied, then 200'],
];

const ACCESS = `## Access

\`/api/v1/*\` exposes addresses and process names. Requests need no token over loopback, if the \`Host\` header is \`localhost\`, \`127.0.0.1\` or \`[::1]\`, or over the Unix socket of \`--api-socket FILE\` (mode 0600).
All other requests need the bearer token from the file that \`--api-token-file\` names, and are refused if there is no such file. The other paths need no token, unless a [web configuration](web-config.md) requires a password or a certificate on all paths.

\`\`\`sh
curl -s http://localhost:9102/api/v1/probes
curl -s --unix-socket /run/netsonde.sock http://netsonde/api/v1/probes
curl -s -H "Authorization: Bearer $(cat token)" http://10.0.0.1:9102/api/v1/probes
\`\`\`

- A request with \`Forwarded\`, \`X-Forwarded-*\`, \`Via\`, \`X-Real-IP\` or a similar header comes from a proxy that acts for another client. Such a request needs the token even over loopback and over the Unix socket.
- Every user of the machine can use loopback. With \`--api-socket-only\`, requests over loopback need the token too, and only the Unix socket works without it.
- A request that a browser sends on behalf of another site (\`Origin\`, \`Sec-Fetch-Site\`) is refused on every path. Links from other sites work.

## Limits

Any client may reach the port, so the agent limits everything that a client can make it store or do. \`netsonde_http_refused_total{cause}\` counts refused requests and closed connections.

| what is limited | limit | effect | \`cause\` |
| --- | --- | --- | --- |
| connections over all addresses and the Unix socket | ${CONNECTIONS_MAX}, plus ${NEWCOMERS_MAX} that are younger than a quarter of a second and have no request yet | the address with the most connections loses one that has no request or, if all have requests, its oldest one; an IPv6 address counts as its /64 network | \`connections\` |
| pipelined requests per connection | ${PIPELINED_MAX}, which are processed one after the other | the connection is closed | \`pipelined\` |
| unread response data of all clients | ${UNREAD_BYTES_MAX / MIB} MiB | the address with the most unread data loses the connection with the most unread data | \`unread\` |
| time without reading while a response is pending | ${UNREAD_MS / SECOND} s | the connection is closed | \`unread\` |
| unread data of a client that follows events or flows | 1 MiB | the connection is closed | \`unread\` |
| time until the first request on a connection | ${FIRST_REQUEST_MS / SECOND} s | the connection is closed | \`silent\` |
| size of a request header | 16 KiB | the response is 431 | \`malformed\` |
| concurrent metrics pages | ${PAGES_MAX}, distributed fairly over client addresses | the request waits for the scraper's timeout, but at most 14 s; then the response is the last page, or 503 if there is none | \`busy\` |
| concurrent API requests that need the kernel thread | 4, distributed fairly over client addresses | the request waits for up to 3 s; then the response is 503 | \`busy\` |
| clients that follow events or flows | 16 | the address with the most streams loses the stream with the most unread data or, if all data was read, its oldest one; the client can resume with \`Last-Event-ID\` | \`followers\` |

The agent stops working on a request when the client disconnects. A 503 response has a \`Retry-After\` header. The other causes are \`malformed\` (not HTTP), \`site\` (a request on behalf of another site), \`host\` (a wrong or missing \`Host\` header), \`address\` (another machine, or a proxy), \`token\`, and \`password\`, \`certificate\` and \`tls\`, which belong to a [web configuration](web-config.md).`;

const SERIES = `A Pod's series have the labels \`namespace\`, \`pod\` and those configured in \`labels\`. The node's series have the same labels with empty values. Outside of Kubernetes, \`pod\` is the name of the container, of the \`ip netns\` namespace, or of
the oldest process. Set \`honor_labels: true\` in the scrape configuration.`;

const ANSWERS = `## Responses

Response bodies are JSON. Times are in the format of RFC 3339, in UTC. The tables below list every field; a field that is not marked as optional is always present. A later version of the agent may add fields, so clients must ignore
unknown fields. No field will be removed or changed within \`v1\`.

If the status is not 200, the body contains the reason:`;

const STREAM = `The response is a stream of server-sent events. The field \`event\` of each is the event type, and \`data\` is the event. A client that reconnects with \`Last-Event-ID\` continues after that event, as far back as the agent
keeps events (\`events.history\`). With \`Accept: application/x-ndjson\`, the response has one JSON object per line. Without \`since\`, a stream starts with the next event. At most 16 clients can follow events at the same time; another client replaces one of them ([limits](#limits)).

\`\`\`sh
curl -sN 'http://localhost:9102/api/v1/events?type=packet_drop&namespace=shop'
curl -s -H 'Accept: application/x-ndjson' 'http://localhost:9102/api/v1/events?since=10m&last=100'
\`\`\``;

function statusTable(statuses: Readonly<Record<number, string>>): string {
  return table(['status', 'reason'], Object.entries(statuses));
}

function parameterTable({ shape }: z.ZodObject): string {
  const rows = Object.entries(shape).map(([name, schema]) => [
    `\`${name}\``,
    (schema as { description?: string }).description ?? '',
  ]);
  return table(['parameter', 'meaning'], rows);
}

const FLOWS = `\`\`\`sh
curl -s 'http://localhost:9102/api/v1/flows?namespace=shop&failed=true&limit=20'
curl -sN 'http://localhost:9102/api/v1/flows/stream?peer=10.0.0.7&port=5432'
\`\`\`

\`netsonde flows\` shows the same data as a table that refreshes, \`netsonde flows --requests\` shows its requests, and \`netsonde flows --follow\` shows the records.`;

const FLOW_STREAM =
  'The formats are the same as for [/api/v1/events](#apiv1events). The field `event` of each server-sent event is `flow`.';

const REQUEST_STREAM = `\`\`\`sh
curl -sN 'http://localhost:9102/api/v1/requests/stream?namespace=shop&failed=true'
\`\`\`

The formats are the same as for [/api/v1/events](#apiv1events). The field \`event\` of each server-sent event is \`request\`. \`netsonde requests\` shows the same records as lines.`;

const MAP = `A connection of which both ends are on this node is one edge, with the bytes of its client. A connection from another node has the client there as its source.

A Service is drawn as the workload behind it if it has Pods on this node, and all of these belong to one workload. With \`peers: services\`, EndpointSlices tell which Pods it has, and with \`peers: cluster\`, its selector. Its Pods on other nodes are then taken for the same workload, because the agent does not know which of them are behind the Service or, with \`services\`, what workload they have. Any other Service is a node of its own, beside the workloads behind it: clients have edges to the Service, and its workloads have edges from clients on other nodes. No Service is drawn as a workload with \`identity: pod\` of the probe \`flow\`. When the first such Pod comes to the node or the last one leaves it, the edges of the Service get other identifiers.`;

/** Text to insert after the summary of a route, by path. */
const NOTES: Readonly<Record<string, string>> = {
  '/api/v1/events': STREAM,
  '/api/v1/flows': FLOWS,
  '/api/v1/map': MAP,
  '/api/v1/flows/stream': FLOW_STREAM,
  '/api/v1/requests/stream': REQUEST_STREAM,
};

function routeSection({ path, summary, query, answer, statuses }: Route): string {
  const parts = [`## ${path}`, summary, ...(NOTES[path] === undefined ? [] : [NOTES[path]])];
  if (query !== undefined) parts.push(parameterTable(query));
  if (Object.keys(statuses).length > 0) parts.push(statusTable(statuses));
  parts.push(answer === EVENT ? 'The fields of an event depend on [its type](events.md).' : fieldTable(answer));
  return parts.join('\n\n');
}

/** Returns the anchor that GitHub generates for a heading. */
const anchor = (path: string) => path.replaceAll('/', '');

/** Renders docs/api.md, without the notice that the file is generated. */
export function apiPage(): string {
  const routes = ROUTES.map(({ path, summary }) => [`[\`${path}\`](#${anchor(path)})`, summary]);
  return [
    '# The HTTP interface',
    'The interface is read-only. The agent refuses every method except `GET` and `HEAD`.',
    table(['path', 'response'], [...OTHER_PATHS, ...routes]),
    SERIES,
    ACCESS,
    ANSWERS,
    fieldTable(FAILURE),
    'The response of every route may also have one of these statuses:',
    statusTable(COMMON_STATUSES),
    ...ROUTES.map(routeSection),
    '',
  ].join('\n\n');
}
