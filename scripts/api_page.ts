import type * as z from 'zod';
import { FAILURE } from '#api/errors.ts';
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
  ['`/`', '[a page](page.md) for people: probes, Pods by their worst numbers, live events, ledger, configuration'],
  [
    '`/metrics`',
    '[metrics](metrics.md) in the Prometheus text format, or OpenMetrics to a scraper that prefers it; gzip. A client that sends `X-Prometheus-Scrape-Timeout-Seconds` sees a new counter row [at 0 first](adr/0022-born-at-zero.md)',
  ],
  ['`/healthz`', '200 while the agent is alive'],
  ['`/readyz`', '200 after the first scan and the first configuration, 503 before'],
];

const ACCESS = `## Access

\`/api/v1/*\` shows addresses and names of processes. It is served on loopback, under the names \`localhost\`, \`127.0.0.1\` and \`[::1]\`, and on the Unix socket of \`--api-socket FILE\` (mode 0600).
On other addresses it requires the bearer token in the file of \`--api-token-file\`, and is refused without such a file. The other paths are open, unless a [web configuration](web-config.md) requires a password or a certificate on all paths.

\`\`\`sh
curl -s http://localhost:9102/api/v1/probes
curl -s --unix-socket /run/netsonde.sock http://netsonde/api/v1/probes
curl -s -H "Authorization: Bearer $(cat token)" http://10.0.0.1:9102/api/v1/probes
\`\`\`

- A request with \`Forwarded\`, \`X-Forwarded-*\`, \`Via\`, \`X-Real-IP\` or a similar header comes from a proxy, which acts for another client: it needs the token, even on loopback and on the Unix socket.
- Every user of the machine can use loopback. With \`--api-socket-only\` loopback needs the token like any other address, and only the Unix socket does not.
- A request that a browser makes for a page of another site (\`Origin\`, \`Sec-Fetch-Site\`) is refused on every path; a link from another site works.

## Bounds

Any client can reach the port, so everything that a client can make the agent keep has a bound. \`netsonde_http_refused_total{cause}\` counts refused requests and closed connections.

| item | bound | beyond it | \`cause\` |
| --- | --- | --- | --- |
| connections, of all addresses and the Unix socket | ${CONNECTIONS_MAX}, and ${NEWCOMERS_MAX} younger than a quarter of a second without a request | the address with most connections loses one without a request, else its oldest; IPv6 counts by /64 | \`connections\` |
| pipelined requests of a connection | ${PIPELINED_MAX}; they are answered one after the other | the connection is closed | \`pipelined\` |
| unread bytes of answers | ${UNREAD_BYTES_MAX / MIB} MiB | the address with most loses its connection with most | \`unread\` |
| time in which a client reads nothing of its answer | ${UNREAD_MS / SECOND} s | the connection is closed | \`unread\` |
| unread bytes of a client that follows events | 1 MiB | the connection is closed | \`unread\` |
| time to the first request | ${FIRST_REQUEST_MS / SECOND} s | the connection is closed | \`silent\` |
| header of a request | 16 KiB | 431 | \`malformed\` |
| pages in progress at a time | ${PAGES_MAX}; addresses take turns | the request waits, as long as the scraper does and at most 14 s, then gets the last page, or 503 | \`busy\` |
| requests of the API to the kernel thread at a time | 4; addresses take turns | the request waits for 3 s, then gets 503 | \`busy\` |
| clients that follow events | 16 | the address with most streams loses the one with most unread bytes, else its oldest; \`Last-Event-ID\` resumes it | \`followers\` |

The agent stops work for a client that has disconnected. An answer with 503 has \`Retry-After\`. The other causes are \`malformed\` (no HTTP), \`site\` (a page of another site), \`host\` (another name, or none), \`address\` (another machine, or a proxy), \`token\`, and \`password\`, \`certificate\` and \`tls\` of a [web configuration](web-config.md).`;

const SERIES = `A Pod's series have the labels \`namespace\`, \`pod\` and configured \`labels\`; those of the node have them all, empty. Outside of Kubernetes \`pod\` is the name of the container, of the \`ip netns\` namespace, or of
the oldest process. Scrape with \`honor_labels: true\`.`;

const ANSWERS = `## Answers

Answers are JSON. Times are RFC 3339 in UTC. The tables below have every field; a field that is not marked as optional is always present. A later version of the agent may add fields, so a client must ignore
unknown ones; no field is removed or changed within \`v1\`.

With any status except 200 the body gives the reason:`;

const STREAM = `The format is server-sent events, whose \`event\` is the type and whose \`data\` is the event. A client that reconnects with \`Last-Event-ID\` continues after that event, as far back as the agent
remembers (\`events.history\`). With \`Accept: application/x-ndjson\` the format is one JSON object a line. Without \`since\`, a stream begins with the next event. At most 16 clients follow at a time: a new one replaces another ([bounds](#bounds)).

\`\`\`sh
curl -sN 'http://localhost:9102/api/v1/events?type=packet_drop&namespace=shop'
curl -s -H 'Accept: application/x-ndjson' 'http://localhost:9102/api/v1/events?since=10m&last=100'
\`\`\``;

function statusTable(statuses: Readonly<Record<number, string>>): string {
  return table(['status', 'when'], Object.entries(statuses));
}

function parameterTable({ shape }: z.ZodObject): string {
  const rows = Object.entries(shape).map(([name, schema]) => [
    `\`${name}\``,
    (schema as { description?: string }).description ?? '',
  ]);
  return table(['parameter', 'what it does'], rows);
}

function routeSection({ path, summary, query, answer, isStream, statuses }: Route): string {
  const parts = [`## ${path}`, summary];
  if (isStream === true) parts.push(STREAM);
  if (query !== undefined) parts.push(parameterTable(query));
  if (Object.keys(statuses).length > 0) parts.push(statusTable(statuses));
  parts.push(isStream === true ? 'Each event has [the fields of its type](events.md).' : fieldTable(answer));
  return parts.join('\n\n');
}

/** Returns the anchor that GitHub gives to a heading. */
const anchor = (path: string) => path.replaceAll('/', '');

/** Renders docs/api.md, without the notice. */
export function apiPage(): string {
  const routes = ROUTES.map(({ path, summary }) => [`[\`${path}\`](#${anchor(path)})`, summary]);
  return [
    '# The HTTP interface',
    'The interface is read-only: every method except `GET` and `HEAD` is refused.',
    table(['path', 'answer'], [...OTHER_PATHS, ...routes]),
    SERIES,
    ACCESS,
    ANSWERS,
    fieldTable(FAILURE),
    'Every route may answer:',
    statusTable(COMMON_STATUSES),
    ...ROUTES.map(routeSection),
    '',
  ].join('\n\n');
}
