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
    '[metrics](metrics.md) in the Prometheus text format, or OpenMetrics to a scraper that prefers it; gzip. Who sends `X-Prometheus-Scrape-Timeout-Seconds` sees a new counter row [at 0 first](adr/0022-born-at-zero.md)',
  ],
  ['`/healthz`', '200 while the agent is alive'],
  ['`/readyz`', '200 after the first scan and the first configuration, 503 before'],
];

const ACCESS = `## Who may ask

\`/api/v1/*\` shows addresses and names of processes. It is served by loopback, under the names \`localhost\`, \`127.0.0.1\` and \`[::1]\`, and on the Unix socket of \`--api-socket FILE\` (mode 0600).
On other addresses it takes the bearer token in the file of \`--api-token-file\`, and is refused where there is none. The other paths are open, unless there is a [web configuration](web-config.md), which may ask everybody for a password or a certificate on all of them.

\`\`\`sh
curl -s http://localhost:9102/api/v1/probes
curl -s --unix-socket /run/netsonde.sock http://netsonde/api/v1/probes
curl -s -H "Authorization: Bearer $(cat token)" http://10.0.0.1:9102/api/v1/probes
\`\`\`

- A request with \`Forwarded\`, \`X-Forwarded-*\`, \`Via\`, \`X-Real-IP\` or the like comes from a proxy, which asks for somebody else: it needs the token, by loopback and on the Unix socket too.
- Every user of the machine can ask by loopback. With \`--api-socket-only\` loopback needs the token as any other address does, and only the Unix socket does not.
- A browser that asks for a page of another site (\`Origin\`, \`Sec-Fetch-Site\`) is refused on every path; a link from another site is followed.

## Bounds

Whoever reaches the port can ask, so everything that a client can make the agent keep has a bound. What is refused or closed is counted in \`netsonde_http_refused_total{cause}\`.

| what | bound | beyond it | \`cause\` |
| --- | --- | --- | --- |
| connections, of all addresses and the Unix socket | ${CONNECTIONS_MAX}, and ${NEWCOMERS_MAX} that have come within a quarter of a second and asked nothing yet | of the address that has most, one that asks nothing is closed, else its oldest; IPv6 counts by /64 | \`connections\` |
| requests that a connection sends ahead | ${PIPELINED_MAX}; they are answered one after the other | the connection is closed | \`pipelined\` |
| bytes of answers that no client has taken | ${UNREAD_BYTES_MAX / MIB} MiB | of the address that has most, the connection with most is closed | \`unread\` |
| time in which a client takes nothing of its answer | ${UNREAD_MS / SECOND} s | the connection is closed | \`unread\` |
| bytes that a client which follows events has not taken | 1 MiB | the connection is closed | \`unread\` |
| time to the first request | ${FIRST_REQUEST_MS / SECOND} s | the connection is closed | \`silent\` |
| header of a request | 16 KiB | 431 | \`malformed\` |
| pages that are made at a time | ${PAGES_MAX}; addresses take turns | the request waits, as long as the scraper does and at most 14 s, then gets the last page, or 503 | \`busy\` |
| questions of the API to the kernel thread at a time | 4; addresses take turns | the request waits for 3 s, then 503 | \`busy\` |
| clients that follow events | 16 | of the address that has most, the stream with most unread is closed, else its oldest; \`Last-Event-ID\` goes on where it was | \`followers\` |

A client that has gone is not worked for. An answer with 503 has \`Retry-After\`. The other causes are \`malformed\` (no HTTP), \`site\` (a page of another site), \`host\` (another name, or none), \`address\` (another machine, or a proxy), \`token\`, and \`password\`, \`certificate\` and \`tls\` of a [web configuration](web-config.md).`;

const SERIES = `A Pod's series carry \`namespace\`, \`pod\` and configured \`labels\`; those of the node carry them all, empty. Outside of Kubernetes \`pod\` is the name of the container, of the \`ip netns\` namespace, or of
the oldest process. Scrape with \`honor_labels: true\`.`;

const ANSWERS = `## Answers

An answer is JSON. A time is RFC 3339 in UTC. The tables below have every field; one that is not marked as optional is always there. A later version of the agent may have more fields, so a client ignores
those that it does not know; it takes away or changes none within \`v1\`.

With any status but 200 the body says why:`;

const STREAM = `The form is server-sent events, whose \`event\` is the type and whose \`data\` is the event. A client that comes back with \`Last-Event-ID\` goes on where it ended, as long as the agent
remembers (\`events.history\`). With \`Accept: application/x-ndjson\` it is one JSON object a line. Without \`since\`, a stream that follows begins with the next event. At most 16 clients follow at a time: a new one takes the place of another ([bounds](#bounds)).

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

/** A heading as GitHub links to it. */
const anchor = (path: string) => path.replaceAll('/', '');

/** docs/api.md */
export function apiPage(): string {
  const routes = ROUTES.map(({ path, summary }) => [`[\`${path}\`](#${anchor(path)})`, summary]);
  return [
    '# The HTTP interface',
    'Read-only: everything but `GET` and `HEAD` is refused.',
    table(['path', 'what it gives'], [...OTHER_PATHS, ...routes]),
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
