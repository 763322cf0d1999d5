import { httpCause, httpDetail, httpMethod, httpOutcome, httpRole, l7Protocol } from '#bpf/generated/common.ts';
import { l7Count, l7Row } from '#bpf/generated/l7.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { addCounters, type Counter, subtractCounters } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ReadConnections } from '#probe/flow_edges.ts';
import { defineMetrics, type Emit } from '#probe/metric.ts';
import type { PlaceRow } from '#probe/place_rows.ts';
import { edgeMetrics } from '#probe/request_edges.ts';
import type { Exemplars } from './exemplars.ts';
import { countsCalls } from './grpc_metrics.ts';
import { BUCKETS, CAUSES, countOf, type Durations, durationOf, durationsOf, forEachGroup } from './http_rows.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'CONNECT', 'TRACE', 'other'] as const;
const STATUSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'none', 'reset', 'unknown'] as const;
const VERSIONS = ['1', '2'] as const;
const RESULTS = ['ok', 'error'] as const;
const PROTOCOLS = ['http1', 'http2', 'tls', 'other'] as const;
/** Protocols of which the requests are not read, so that dashboards can show their share. */
export const NOT_READ = ['tls', 'other'] as const satisfies readonly (typeof PROTOCOLS)[number][];

const SERVER_ERROR = 500;

type Version = (typeof VERSIONS)[number];
export type Method = (typeof METHODS)[number];
export type Status = (typeof STATUSES)[number];

const role = { help: 'Role of the Pod in the connection.', values: namesOf(httpRole) };
const method = { help: 'Method of the request; `other` for all but those of RFC 9110 and PATCH.', values: METHODS };

const common = { scope: 'pod', source: 'cgroup_skb, map http_rows' } as const;

export const HTTP_EDGE_METRICS = edgeMetrics({
  prefix: 'netsonde_http_edge',
  requests: 'HTTP requests that have ended, by peer. Counted while the probe `flow` is enabled.',
  failed:
    'HTTP requests that were answered with a status code from 500 to 599, or not at all, by peer. Counted while the probe `flow` is enabled.',
  durations:
    'Time from the first byte of an HTTP request to the first byte of its final response, at the socket of the Pod, by peer. Counted while the probe `flow` is enabled.',
});

export const HTTP_METRICS = defineMetrics({
  ...HTTP_EDGE_METRICS,
  requests: {
    ...common,
    type: 'counter',
    name: 'netsonde_http_requests_total',
    help: 'HTTP requests that have ended, by class of their status.',
    detail: 'core',
    labels: {
      role,
      version: { help: 'Version of HTTP: 1 for HTTP/1.0 and HTTP/1.1.', values: VERSIONS },
      method,
      status: {
        help: 'Class of the status code; none: the connection ended without a response; reset: one end has reset the stream (HTTP/2); unknown: netsonde could not tell the status, see `netsonde_http_unknown_total`.',
        values: STATUSES,
      },
    },
  },
  responses: {
    ...common,
    type: 'counter',
    name: 'netsonde_http_responses_total',
    help: 'Final HTTP responses, by method and status code.',
    detail: 'full',
    labels: { role, method, code: { help: 'Status code.', example: '404', max: 64 } },
  },
  durations: {
    ...common,
    type: 'histogram',
    unit: 'seconds',
    buckets: BUCKETS,
    name: 'netsonde_http_duration_seconds',
    help: 'Time from the first byte of an HTTP request to the first byte of its final response, at the socket of the Pod. It includes the time in queues of the server, but not the time to send the rest of the response.',
    detail: 'core',
    labels: { role, status: { help: 'error for the status codes 500 to 599, otherwise ok.', values: RESULTS } },
  },
  open: {
    ...common,
    type: 'gauge',
    name: 'netsonde_http_open_requests',
    help: 'HTTP requests that have begun and not yet ended.',
    detail: 'core',
    labels: { role },
  },
  unknown: {
    ...common,
    type: 'counter',
    name: 'netsonde_http_unknown_total',
    help: 'HTTP requests whose status is unknown, and HTTP data that could not be assigned to a request, by cause.',
    detail: 'core',
    labels: {
      role,
      cause: {
        help: 'reordered: bytes are missing because segments arrived out of order and could not be kept; late: the connection is older than the probe; busy: two CPUs processed segments of a connection at the same time; limit: more than 128 open requests on a connection of HTTP/1.x or 256 of HTTP/2, or too many lines or headers in a packet; unreadable: the data is not valid HTTP, or a request was sent while the previous response was on its way; orphan: a response without a request.',
        values: CAUSES,
      },
    },
  },
  connections: {
    type: 'counter',
    scope: 'pod',
    source: 'cgroup_skb, map l7_rows',
    name: 'netsonde_l7_connections_total',
    help: 'TCP connections with data, by the protocol that their first bytes show. The requests of `http1` and `http2` are read.',
    detail: 'core',
    labels: {
      protocol: {
        help: 'http1: HTTP/1.x; http2: HTTP/2 without TLS, such as gRPC; tls: encrypted; other: none of them.',
        values: PROTOCOLS,
      },
    },
  },
  late: {
    type: 'counter',
    scope: 'pod',
    source: 'cgroup_skb, map l7_rows',
    name: 'netsonde_l7_late_connections_total',
    help: 'TCP connections with data that are older than netsonde. Their protocol may be unknown, and requests that were open are missing.',
    detail: 'core',
    labels: {},
  },
  refused: {
    type: 'counter',
    scope: 'pod',
    source: 'cgroup_skb, map l7_rows',
    name: 'netsonde_l7_refused_segments_total',
    help: 'TCP segments with data that were not read, because too many other connections were being read.',
    detail: 'core',
    labels: {},
  },
  givenUp: {
    ...common,
    type: 'counter',
    name: 'netsonde_http_given_up_total',
    help: 'Connections that began like HTTP/1.x but are something else.',
    detail: 'full',
    labels: { role },
  },
});

interface Requests extends Durations {
  readonly subject: NetnsId;
  readonly role: keyof typeof httpRole;
  readonly method: Method;
  /** Code, or a value of the enum http_outcome. */
  readonly status: number;
  readonly cause: keyof typeof httpCause;
  readonly count: Counter;
  readonly version: Version;
}

/** Returns the name of a method as metrics and events show it. */
export function methodName(number: number): Method {
  const name = nameOf(httpMethod, number)?.toUpperCase();
  return METHODS.find((known) => known === name) ?? 'other';
}

/** Returns the class of a code, or the name of an outcome; undefined if the row does not count ended requests. */
export function statusName(status: number): Status | undefined {
  if (status === httpOutcome.none) return 'none';
  if (status === httpOutcome.reset) return 'reset';
  if (status === httpOutcome.unknown) return 'unknown';
  return STATUSES.find((name) => name === `${Math.floor(status / 100)}xx`);
}

const WORD = 8;
const FIRST_COUNT = l7Row.offsets.counts / WORD;
const LATE = FIRST_COUNT + l7Count.late;
const REFUSED = FIRST_COUNT + l7Count.refused;

function decode({ subject, detail, words }: PlaceRow): Requests {
  const view = new DataView(new ArrayBuffer(httpDetail.SIZE));
  view.setBigUint64(0, BigInt(detail), true);
  return {
    ...durationsOf(words),
    subject,
    role: nameOf(httpRole, httpDetail.role(view, 0)) ?? 'client',
    method: methodName(httpDetail.method(view, 0)),
    status: httpDetail.status(view, 0),
    cause: nameOf(httpCause, httpDetail.cause(view, 0)) ?? 'nothing',
    count: words[0] ?? 0,
    version: httpDetail.version(view, 0) === 2 ? '2' : '1',
  };
}

/** Open requests by subject and role. */
export type OpenRequests = ReadonlyMap<string, Counter>;

function openKey(subject: NetnsId, name: string): string {
  return `${subject} ${name}`;
}

function openOf(all: readonly Requests[], show: (subject: NetnsId, role: 'client' | 'server', open: Counter) => void) {
  forEachGroup(
    all,
    ({ role }) => ({ role }),
    (subject, { role }, group) => {
      const begun = countOf(group.filter(({ status }) => status === httpOutcome.begun));
      const ended = countOf(group.filter(({ status }) => statusName(status) !== undefined));
      show(subject, role, subtractCounters(begun, ended));
    },
  );
}

/** Returns the requests that have not ended according to the rows. */
export function openRequests(rows: readonly PlaceRow[]): OpenRequests {
  const open = new Map<string, Counter>();
  openOf(rows.filter((row) => !countsCalls(row)).map(decode), (subject, name, count) =>
    open.set(openKey(subject, name), count),
  );
  return open;
}

/**
 * Emits all metrics.
 * @param left requests that were open when the probe was switched off
 * @param exemplars undefined if there are none
 */
export function emitHttp(
  emit: Emit<typeof HTTP_METRICS>,
  rows: readonly PlaceRow[],
  left: OpenRequests,
  exemplars?: Pick<Exemplars, 'of'>,
): void {
  const all = rows.filter((row) => !countsCalls(row)).map(decode);
  forEachGroup(
    all,
    ({ role, version, method, status }) => {
      const name = statusName(status);
      return name && { role, version, method, status: name };
    },
    (subject, labels, group) => emit('requests', subject, countOf(group), labels),
  );
  forEachGroup(
    all,
    ({ role, method, status }) => (status < 100 ? undefined : { role, method, code: String(status) }),
    (subject, labels, group) => emit('responses', subject, countOf(group), labels),
  );
  forEachGroup(
    all,
    ({ role, status }) =>
      status < 100 ? undefined : { role, status: status < SERVER_ERROR ? ('ok' as const) : ('error' as const) },
    (subject, labels, group) => {
      const found = exemplars?.of(subject, labels.role, labels.status);
      const value = { ...durationOf(group), ...(found === undefined ? {} : { exemplars: found }) };
      emit('durations', subject, value, labels);
    },
  );
  openOf(all, (subject, name, open) => {
    const now = subtractCounters(open, left.get(openKey(subject, name)) ?? 0);
    emit('open', subject, now < 0 ? 0 : now, { role: name });
  });
  forEachGroup(
    all,
    ({ role, cause }) => (cause === 'nothing' ? undefined : { role, cause }),
    (subject, labels, group) => emit('unknown', subject, countOf(group), labels),
  );
  forEachGroup(
    all,
    ({ role, status }) => (status === httpOutcome.given_up ? { role } : undefined),
    (subject, labels, group) => emit('givenUp', subject, countOf(group), labels),
  );
}

/** Emits the number of connections. @param rows rows of the struct l7_row */
export function emitConnections(emit: Emit<typeof HTTP_METRICS>, rows: readonly PlaceRow[]): void {
  for (const { subject, words } of rows) {
    for (const protocol of PROTOCOLS) {
      const count = words[l7Protocol[protocol]] ?? 0;
      if (count !== 0) emit('connections', subject, count, { protocol });
    }
    const late = words[LATE] ?? 0;
    if (late !== 0) emit('late', subject, late, {});
    const refused = words[REFUSED] ?? 0;
    if (refused !== 0) emit('refused', subject, refused, {});
  }
}

/** Protocols whose requests the probe reads. */
const READ = ['http1', 'http2'] as const satisfies readonly (typeof PROTOCOLS)[number][];

/** Returns how many connections of a struct l7_row are read, and why the others are not. */
export function readConnections({ subject, words }: PlaceRow): ReadConnections {
  const sumOf = (names: readonly (typeof PROTOCOLS)[number][]) =>
    names.map((name) => words[l7Protocol[name]] ?? 0).reduce<Counter>(addCounters, 0);
  const isRead = (name: (typeof PROTOCOLS)[number]) => READ.some((one) => one === name);
  return {
    netns: subject,
    read: sumOf(READ),
    encrypted: sumOf(['tls']),
    other: sumOf(PROTOCOLS.filter((name) => name !== 'tls' && !isRead(name))),
    late: words[LATE] ?? 0,
    refused: words[REFUSED] ?? 0,
  };
}
