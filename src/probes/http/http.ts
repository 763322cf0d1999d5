import type { BpfObject } from 'bpf-napi';
import * as z from 'zod';
import { eventLedger, httpEvent } from '#bpf/generated/common.ts';
import { FILE, type Layout } from '#bpf/generated/http.ts';
import { duration } from '#core/duration.ts';
import { isHostPodId, type NetnsId } from '#core/netns.ts';
import { defineProbe, type ProbeSettings } from '#probe/contract.ts';
import { openTally } from '#probe/ebpf.ts';
import { fateOf } from '#probe/fate.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { withSubject } from '#probe/host_pods.ts';
import { CONNECTIONS_MAX, L7_HOOKS } from '#probe/l7.ts';
import { PLACE_ROWS, PlaceRows, type PlaceRowsOptions } from '#probe/place_rows.ts';
import { UNOFFERED, type Unoffered } from '#probe/records.ts';
import { ProbeRequests } from '#probe/request_edges.ts';
import { sumPerCpu } from '#probe/tally.ts';
import { EXEMPLARS_MAX, Exemplars } from './exemplars.ts';
import { emitCalls, GRPC_METRICS } from './grpc_metrics.ts';
import { eventOf, eventTypeOf, HTTP_EVENTS } from './http_events.ts';
import {
  emitConnections,
  emitHttp,
  HTTP_EDGE_METRICS,
  HTTP_METRICS,
  openRequests,
  readConnections,
} from './http_metrics.ts';
import { HTTP_RECORDS, recordSettings, requestRecord, wantsRecords } from './http_records.ts';
import { decodeReport } from './http_report.ts';
import { shownBucketOf } from './http_rows.ts';
import { GRPC_METHODS, openHttp2 } from './http2.ts';

// The programs of the root cgroup see all packets of sockets, in both directions. A request is counted at each socket of
// a connection, so one between two Pods of the node is counted at the client and at the server.

const ROWS: Layout['map'] = 'http_rows';
const RECORD_LEDGER: Layout['map'] = 'http_record_ledgers';
/** Number of rows that are divided among the owners: 192 rows for each owner. */
const ROWS_MAX = 262_144;
/** Maximum number of overflow rows of a slot. */
const RESTS = 64;

const PROGRAMS = {
  sent: 'http1_sent',
  received: 'http1_received',
} as const;

const PARSER: HookTable<Layout['program']> = {
  file: FILE,
  points: [{ what: 'ended connections', choices: [{ hooks: [hook('tp_btf/inet_sock_set_state', 3, 'http_closed')] }] }],
  later: Object.values(PROGRAMS),
};

class HttpRows extends PlaceRows {
  readonly #remembered: (object: BpfObject) => void;

  /** @param remembered called when the programs do not run any more, and their maps still exist */
  constructor(object: BpfObject, remembered: (object: BpfObject) => void, options: PlaceRowsOptions) {
    super(object, options);
    this.#remembered = remembered;
  }

  override remember(): void {
    this.#remembered(this.object);
    super.remember();
  }
}

/** Adds the records that this run of the programs has not sent. */
function addLedger({ limited, lost }: Unoffered, object: BpfObject): Unoffered {
  const now = sumPerCpu(object, RECORD_LEDGER, eventLedger);
  return { limited: limited + BigInt(now.limited), lost: lost + BigInt(now.lost) };
}

interface Reported extends Pick<ProbeSettings<unknown>, 'records' | 'limit'> {
  readonly options: { readonly slow?: number | undefined };
}

/** Returns the settings of the programs that say which requests are reported. */
function programSettings({ options: { slow = 0 }, records, limit }: Reported) {
  return { slow_nanoseconds: slow, ...recordSettings(records, limit) };
}

export const http = defineProbe({
  name: 'http',
  kind: 'ebpf',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'HTTP/1.x and HTTP/2 requests and gRPC calls of each Pod: rate, status and time to the response, without changes to applications. The probe adds a cost to every packet of the node.',
  guide: {
    question: 'How many HTTP requests does a Pod send and answer, how many fail, and how long do they take?',
    when: 'Enable it to see request rates, errors and latencies of applications that do not export them.',
    query:
      'sum by (namespace, pod, role) (rate(netsonde_http_requests_total{status=~"5xx|none"}[5m])) / sum by (namespace, pod, role) (rate(netsonde_http_requests_total[5m]))',
    limits: [
      'HTTP/3 and everything inside TLS are not read. `netsonde_l7_connections_total` shows how many connections of a Pod that concerns, and `netsonde_l7_late_connections_total` how many were older than the probe.',
      'The duration ends with the first byte of the response, not the last one. At a client it includes the network; the difference to the server is the time on the network.',
      'A connection is recognized by its first bytes, whatever its port is: they must be one of the nine methods of RFC 9110 and PATCH, another method in upper case that has 3 to 14 characters and is followed by a path, such as `PROPFIND /`, or a header of the PROXY protocol. A request with any other method in upper case is counted if it is not the first one of its connection.',
      'The probe sees requests of connections that are older than itself from their next request on. On a connection of HTTP/2, headers may refer to earlier ones that the probe has not seen, so statuses are `unknown` until the headers are sent in full again, and calls are counted as gRPC only if their content type or code is. Restart the client to see everything.',
      'At most 256 requests of an HTTP/2 connection and 8,192 of a Pod are followed at the same time (1,024 of a Pod before Linux 6.1). The status of further ones is `unknown`.',
      'The first 64 gRPC methods of a Pod have series of their own, if their names take at most 62 bytes in a header, which are about 80 characters. All others are counted as `*`. An upgrade from HTTP/1.1 to HTTP/2 is followed if the request has the header `Upgrade: h2c`.',
      'A request is counted once its first line is complete. If it is sent while the response to the previous one is still on its way, its status is `unknown`.',
      'If packets of a connection with pipelined requests were lost and could not be kept in the kernel until the missing ones arrived, the status of its further requests is `unknown`.',
      'A Pod has 192 rows in the kernel (fewer before Linux 6.1), one for each combination of role, method and status code or, for gRPC, of role, method and code. Further combinations have rows that all network namespaces of the Pod share.',
      'Requests are counted by peer (`netsonde_http_edge_…`) while `flow` is enabled, whose options determine how peers are named and how many are shown. The sum over the peers of a Pod is then the number of its requests that ended. The peer is what has the address that the socket sees: a Service at the client and, behind NAT, the node at the server.',
      'A Pod has 48 rows in the kernel for requests by peer address, port and protocol (fewer before Linux 6.1), which `dns` shares. Requests without a row are shown as `*`, and the row of a peer is freed after a minute without requests.',
      'Traffic through Unix sockets, and data that a sockmap program passes to the other end of a connection on the same node, is not seen.',
      'Events and records contain a template of the path, without the query. Set `paths: off` if paths may contain secrets.',
    ],
  },
  metrics: { ...HTTP_METRICS, ...GRPC_METRICS },
  events: HTTP_EVENTS,
  records: HTTP_RECORDS,
  options: {
    slow: duration('1s')
      .optional()
      .describe('Duration from which a request causes the event `http_request_slow`. No such events if unset.'),
    paths: z
      .enum(['template', 'off'])
      .default('template')
      .describe(
        'Whether events and records contain the path of the request, in which identifiers are replaced by `*`.',
      ),
    connections: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(CONNECTIONS_MAX)
      .describe(
        'Maximum number of TCP connections of the node that are read at the same time. Each takes 48 bytes and, if it is HTTP, 1.1 kB of kernel memory, or 4 kB for HTTP/2. A Pod gets no more once it has twice as many as are free: one Pod can use two thirds. Further connections are not read, and counted in `netsonde_l7_refused_segments_total`.',
      ),
    exemplars: z
      .boolean()
      .default(true)
      .describe(
        'Whether the buckets of `netsonde_http_duration_seconds` and `netsonde_grpc_duration_seconds` have the ID of a trace as exemplar, on OpenMetrics pages.',
      ),
  },
  inPlace: ['limit', 'records', 'slow', 'paths'],
  hooks: L7_HOOKS,
  maps: {
    [ROWS]: 'rows',
    http_connections: 'device',
    http_exemplars: 'rowsBySlot',
    http_exemplars_taken: 'fixed',
    http_record_ledgers: 'fixed',
    http_record_buckets: 'fixed',
    http_recent: 'recent',
    http2_connections: 'device',
    http2_streams: 'device',
    http2_followed: 'fixed',
    grpc_names: 'device',
    grpc_named: 'fixed',
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'],
    kernel:
      'BTF, cgroup v2 and `bpf_loop` (5.17). The root cgroup must not have a program that excludes others (attached without BPF_F_ALLOW_MULTI).',
  },
  measured: {
    note: 'A packet of an HTTP connection took 700 to 990 ns in both programs together with those of `l7`, at one request at a time, on a machine whose two CPUs had five times as much work as they could do. It has not been measured on an idle machine.',
  },
  panels: [
    {
      on: 'pod',
      title: 'HTTP requests',
      lines: [{ metric: 'requests', show: 'rate', by: ['role', 'status'] }],
      what: 'Requests that ended, by class of their status. `none` got no response.',
      empty: 'Requests inside TLS are not read.',
      events: ['http_request_failed'],
    },
    {
      on: 'pod',
      title: 'Time to the HTTP response',
      lines: [{ metric: 'durations', show: 'p99', by: ['role', 'status'] }],
      what: 'From the first byte of the request to the first byte of the response. The difference between client and server is the time on the network.',
      events: ['http_request_slow'],
    },
    {
      on: 'pod',
      title: 'Open HTTP requests',
      lines: [{ metric: 'open', show: 'max', by: ['role'] }],
      what: 'Requests that wait for their response, such as long polls.',
    },
  ],
  open: async (scope, sources, settings) => {
    const { exemplars, connections } = settings.options;
    let { paths } = settings.options;
    // Records use the ring of the events.
    const hasRing = settings.events || wantsRecords(settings.records);
    const user = scope.own(await scope.l7.use({ probe: 'http', connections }));
    const unoffered = scope.retained(UNOFFERED);
    const methods = scope.retained(GRPC_METHODS).value;
    const remembered = (object: BpfObject) => {
      unoffered.value = addLedger(unoffered.value, object);
    };
    const instance = await openTally<Layout, HttpRows>(
      scope,
      sources,
      { ...settings, events: hasRing },
      {
        hooks: PARSER,
        helpers: ['loop'],
        shared: user.maps,
        room: { map: ROWS, rows: ROWS_MAX, preallocated: 4096, rests: RESTS },
        onDemand: { http_exemplars: EXEMPLARS_MAX },
        constants: {
          keeps_traces: hasRing || exemplars,
          keeps_exemplars: exemplars,
          reports_events: settings.events,
          ...programSettings(settings),
        },
        sizes: { events: 256 * 1024 },
        events: {
          recordBytesMax: httpEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const timeNs = wallNs(httpEvent.time(view, at));
            const report = decodeReport(view, at, timeNs, paths !== 'off', (name) => methods.get(name));
            withSubject(scope.hostPods, report, (netns) => {
              if (!isShown(netns)) return;
              if (report.isEvent) scope.publish(eventTypeOf(report), { netns, ...eventOf(report) });
              if (report.isRecord) scope.record(requestRecord(report, netns));
            });
          },
        },
      },
      (object) =>
        new HttpRows(object, remembered, {
          map: ROWS,
          owners: scope.owners,
          hostPods: scope.hostPods,
          earlier: scope.retained(PLACE_ROWS),
          countOf: ([requests]) => requests ?? 0,
        }),
    );
    const running = instance.running();
    const kept = new Exemplars(instance.object, {
      subjectOf: (netns, cgroup) => {
        const fate = scope.hostPods.subjectOf(cgroup) ?? fateOf(scope.owners, netns);
        return typeof fate === 'string' ? undefined : fate;
      },
      bucketOf: shownBucketOf,
    });
    scope.own(sources.netns.onSweep((isDead) => kept.forget((id) => isDead(id) || scope.owners.hasDeparted(id))));
    // The programs apply the Pod filter by namespace, so they count all Pods in the node's namespace.
    const isShown = (subject: NetnsId) => !isHostPodId(subject) || running.isShown?.(subject) !== false;
    await instance.tally.find();
    // The programs do not run yet, so these requests were open when the probe was switched off.
    const left = openRequests(instance.tally.rows());
    const http2 = await openHttp2(scope, sources, user, instance);
    user.plug(instance.object, { http1: PROGRAMS });
    const requests = scope.own(new ProbeRequests(scope, user.requests, HTTP_EDGE_METRICS, ['http1', 'http2']));
    return {
      ...running,
      apply: (changed) => {
        if (wantsRecords(changed.records) && !hasRing) return false;
        paths = changed.options.paths;
        for (const parser of [instance, http2.instance]) {
          parser?.set<Layout>({ ...programSettings(changed), event_rate: changed.limit });
        }
        return true;
      },
      unoffered: () => addLedger(unoffered.value, instance.object),
      programs: () => [
        ...(running.programs?.() ?? []),
        ...(http2.instance?.programs() ?? []),
        ...user.report.programs(),
      ],
      mapBytes: () => ({ ...http2.instance?.mapBytes(), ...running.mapBytes?.(), ...user.report.mapBytes() }),
      health: () => {
        const { degraded } = running.health();
        return {
          reader: user.hook,
          note: requests.note,
          degraded: [...degraded, ...http2.degraded, ...user.degraded, ...scope.hostPods.degraded],
        };
      },
      requests: () => requests.last,
      collect: async (emit) => {
        await instance.tally.find();
        const rows = instance.tally.rows().filter(({ subject }) => isShown(subject));
        if (exemplars) kept.read();
        http2.read();
        emitHttp(emit, rows, left, kept);
        emitCalls(emit, rows, (name) => methods.get(name), kept);
        await requests.collect(emit, isShown);
        // The base counts all connections, whatever Pods this probe observes.
        const connections = (await user.connections()).filter(({ subject }) => running.isShown?.(subject) !== false);
        emitConnections(emit, connections);
        requests.setConnections(connections.map(readConnections));
      },
    };
  },
});
