import * as z from 'zod';
import { FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/dns.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import { milliseconds } from '#core/duration.ts';
import { isHostPodId, type NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { openTally } from '#probe/ebpf.ts';
import { bucketsOption, histogramValue, isEmpty, LATENCY, shownBuckets } from '#probe/histogram.ts';
import type { HookTable } from '#probe/hooks.ts';
import { withSubject } from '#probe/host_pods.ts';
import { L7_HOOKS } from '#probe/l7.ts';
import { type BucketRange, defineMetrics, type Emit } from '#probe/metric.ts';
import { PLACE_ROWS, PlaceRows } from '#probe/place_rows.ts';
import { edgeMetrics, ProbeRequests } from '#probe/request_edges.ts';
import { watchRepeatedly } from '#probe/watch.ts';
import { DnsLearner, NAME_METRICS, RING_BYTES } from './dns_learner.ts';
import { Limiter } from './dns_limiter.ts';
import { type DnsCounts, dnsCountsOf, queriesOf, RCODES, ROLES, TYPES, UNKNOWNS } from './dns_rows.ts';
import { addSilent, forgetSilent, SILENT_SERVERS } from './dns_servers.ts';
import { DNS_EVENTS, type DnsFinding, GIVE_UP, giveUp, StormWatch, stopWaiting, waitingQueries } from './dns_watch.ts';

// These metrics are per network namespace and, in the node's namespace, per cgroup. A message belongs to the namespace
// of its socket, so if both ends are on this node, each message is counted once by each of them.

const ROWS: Layout['map'] = 'dns_rows';
/** Number of rows that are divided among the owners. An owner needs one for each namespace or cgroup and role. */
const ROWS_MAX = 49_152;
/** Number of queries that may wait at the same time. As many as fit into `dns_waiting` take less time than the others. */
const WAITING_MAX = 65_536;
const MISSING_MAX = 8_192;
const LOOK_EVERY_MS = 1_000;

const role = {
  help: 'client if the Pod sends queries, server if it answers them.',
  values: ROLES,
} as const;

export const DNS_EDGE_METRICS = edgeMetrics({
  prefix: 'netsonde_dns_edge',
  requests: 'DNS queries that were answered or given up, by peer. Counted while the probe `flow` is enabled.',
  failed:
    'DNS queries that got no answer, or one with another response code than NOERROR and NXDOMAIN, by peer. Counted while the probe `flow` is enabled.',
  durations: 'Time from a DNS query to its answer, by peer. Counted while the probe `flow` is enabled.',
});

const metrics = defineMetrics({
  ...DNS_EDGE_METRICS,
  ...NAME_METRICS,
  queries: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_queries_total',
    help: 'DNS queries that a Pod sent or received, over UDP and TCP.',
    source: 'cgroup_skb, map dns_rows',
    detail: 'core',
    labels: { role, qtype: { help: 'Type of the query; other for types that are not listed.', values: TYPES } },
  },
  answers: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_answers_total',
    help: 'Answers to these queries, by response code.',
    source: 'cgroup_skb, map dns_rows',
    detail: 'core',
    labels: { role, rcode: { help: 'Response code. noerror also stands for empty answers.', values: RCODES } },
  },
  unanswered: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_unanswered_total',
    help: 'Queries that got no answer within the time `timeout`.',
    source: 'map dns_waiting',
    detail: 'core',
    labels: { role },
  },
  silentServers: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_server_unanswered_total',
    help: 'Queries of a client that got no answer within the time `timeout`, by the address of the DNS server.',
    source: 'map dns_waiting',
    detail: 'full',
    showsPeers: true,
    labels: { server: { help: 'Address of the DNS server.', example: '10.96.0.10', max: 8 } },
  },
  waiting: {
    type: 'gauge',
    scope: 'pod',
    name: 'netsonde_dns_waiting_queries',
    help: 'Queries that currently wait for an answer.',
    source: 'map dns_waiting',
    detail: 'full',
    labels: { role },
  },
  truncated: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_truncated_total',
    help: 'Answers that were too long for a datagram (TC), so that the client has to ask again over TCP.',
    source: 'cgroup_skb, map dns_rows',
    detail: 'core',
    labels: { role },
  },
  duration: {
    ...LATENCY,
    scope: 'pod',
    name: 'netsonde_dns_duration_seconds',
    help: 'Time between a query and its answer at the socket. At the client, it includes the network; at the server, the time that the query waits in the socket.',
    source: 'cgroup_skb, map dns_rows',
    detail: 'core',
    labels: { role },
  },
  unknown: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_dns_unknown_total',
    help: 'Messages on port 53 that could not be counted as queries or answers, and queries that could not be followed.',
    source: 'cgroup_skb, map dns_rows',
    detail: 'core',
    labels: {
      role,
      cause: {
        help: 'malformed: not a DNS message; operation: not a query, such as an update; several: a buffer with several datagrams; missing: bytes of a TCP connection were not seen; unasked: an answer for which no query waits, because it is late, a duplicate or forged; mismatched: an answer to another name; untracked: a query that cannot wait because too many are waiting, or one with the same ID; stopped: a query that waited when the probe was stopped.',
        values: UNKNOWNS,
      },
    },
  },
});

/** Programs of the parser, which are called by the programs of `L7_HOOKS`. */
const PARSER: HookTable<Layout['program']> = {
  file: FILE,
  points: [],
  later: ['dns_datagram_sent', 'dns_datagram_received', 'dns_sent', 'dns_received'],
  calls: [GIVE_UP],
};

type Counts = DnsCounts & { readonly subject: NetnsId };

class DnsRows extends PlaceRows {
  /** Ends the queries that are still waiting, so that each query is counted somewhere. */
  override remember(): void {
    stopWaiting(this.object);
    super.remember();
  }

  counts(): Counts[] {
    return this.rows().flatMap((row) => {
      const counts = dnsCountsOf(row);
      return counts === undefined ? [] : [{ ...counts, subject: row.subject }];
    });
  }
}

function emitCounts(emit: Emit<typeof metrics>, counts: Counts, shown: BucketRange): void {
  const { subject, role, queries, answers, unknown, unanswered, truncated, durations } = counts;
  const put = <V extends string>(
    values: readonly V[],
    numbers: readonly Counter[],
    one: (value: V, n: Counter) => void,
  ) =>
    values.forEach((value, index) => {
      const number = numbers[index] ?? 0;
      if (number !== 0) one(value, number);
    });
  put(TYPES, queries, (qtype, count) => emit('queries', subject, count, { role, qtype }));
  put(RCODES, answers, (rcode, count) => emit('answers', subject, count, { role, rcode }));
  put(UNKNOWNS, unknown, (cause, count) => emit('unknown', subject, count, { role, cause }));
  emit('unanswered', subject, unanswered, { role });
  emit('truncated', subject, truncated, { role });
  if (!isEmpty(durations)) emit('duration', subject, histogramValue(durations, shown), { role });
}

export const dns = defineProbe({
  name: 'dns',
  kind: 'ebpf',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'DNS queries, answers and response times of each Pod, over UDP and TCP, without a change to the Pods. The probe adds a cost to every packet of the node.',
  guide: {
    question: 'How many DNS queries does a Pod send or answer, which fail, and how long do they take?',
    when: 'Enable it when name resolution is suspected: timeouts of five seconds, SERVFAIL, or a DNS server that is overloaded by NXDOMAIN answers because clients complete names with a search list.',
    query: 'sum by (namespace, pod, rcode) (rate(netsonde_dns_answers_total{role="client", rcode!="noerror"}[5m])) > 0',
    limits: [
      'Only port 53 is observed. DNS over TLS, HTTPS or QUIC is encrypted, and multicast DNS is not counted.',
      'Counts obey `queries = answers + unanswered + waiting + unknown`, where only the causes `untracked` and `stopped` of `netsonde_dns_unknown_total` are queries.',
      'A query that a firewall drops before it leaves the namespace is not counted. A query that is dropped later is counted at the client, and becomes unanswered.',
      'An answer that arrives after `timeout` is counted as `unasked`, and its query remains unanswered.',
      'A retry with the same ID on the same socket counts as another query, and its time is that of the first one.',
      'Queries are counted by peer (`netsonde_dns_edge_…`) when they end, while `flow` is enabled. NXDOMAIN is no error there, because search lists ask for many names that do not exist. The sum over the peers of a Pod is the number of its queries that have ended.',
      'An owner may have 1,024 waiting queries. Further queries are counted, but not their answers.',
      'Answers name the servers outside to which a Pod connects ([names](requests.md#names-of-servers-outside)), not in metrics. The first of equal answers to a Pod counts while it is valid.',
      'Packets with IPv6 extension headers, and packets of raw sockets, are not observed.',
      'Messages of a TCP connection that is older than the probe are not counted; the connection counts as `missing`.',
    ],
  },
  metrics,
  events: DNS_EVENTS,
  options: {
    buckets: bucketsOption('64us', '8s'),
    timeout: milliseconds('5s', '100ms', '30s').describe('Time after which a query without an answer is unanswered.'),
    storm: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(200)
      .describe(
        'Number of NXDOMAIN answers to a Pod within ten seconds that causes the event `dns_nxdomain_storm`, if at least half of all answers are NXDOMAIN.',
      ),
  },
  inPlace: ['limit', 'buckets', 'timeout', 'storm'],
  hooks: L7_HOOKS,
  maps: {
    [ROWS]: 'rows',
    dns_waiting: 'rowsBySlot',
    dns_waiting_more: 'rowsBySlot',
    dns_waiting_taken: 'fixed',
    dns_missing: 'rowsBySlot',
    dns_missing_taken: 'fixed',
    dns_streams: 'device',
    dns_told: 'fixed',
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'],
    kernel:
      'BTF (5.8) and cgroup v2. The root cgroup must not have a program that excludes others (attached without BPF_F_ALLOW_MULTI).',
  },
  measured: {
    programs: {
      ns: { 'cgroup_skb/egress': '3-660', 'cgroup_skb/ingress': '3-660' },
      note: 'on top of an empty program; the lower figure is for packets that are not DNS (3 to 6 ns), the upper one for a DNS message on a busy machine',
    },
  },
  panels: [
    {
      on: 'pod',
      title: 'DNS queries, by type',
      lines: [{ metric: 'queries', show: 'rate', by: ['role', 'qtype'] }],
      what: 'Queries that the Pod sends as a client or receives as a server.',
    },
    {
      on: 'pod',
      title: 'DNS answers, by response code',
      lines: [
        { metric: 'answers', show: 'rate', by: ['role', 'rcode'] },
        { metric: 'unanswered', show: 'rate', by: ['role'], legend: 'unanswered' },
      ],
      what: 'Many `nxdomain` answers usually mean that a search list completes names. `servfail` and unanswered queries are failures.',
      events: ['dns_unanswered', 'dns_nxdomain_storm'],
    },
    {
      on: 'pod',
      title: 'DNS response time, 99th percentile',
      lines: [{ metric: 'duration', show: 'p99', by: ['role'] }],
      what: 'Time between query and answer.',
    },
    {
      on: 'pod',
      title: 'DNS messages that were not understood',
      lines: [{ metric: 'unknown', show: 'rate', by: ['role', 'cause'] }],
      what: 'Messages that the other graphs do not include, by cause.',
      empty: 'The graph is empty if everything was understood.',
    },
  ],
  alerts: [
    {
      name: 'NetsondeDnsUnanswered',
      severity: 'warning',
      metric: 'unanswered',
      of: 'rate',
      by: ['role'],
      above: 0.1,
      for: '10m',
      summary: 'has {{ $value | humanize }} unanswered DNS queries per second (as {{ $labels.role }}).',
      description:
        'DNS queries get no answer. Applications usually wait five seconds for each before they ask again. The DNS server is overloaded or gone, or packets are lost on the path.',
      runbook:
        'The events `dns_unanswered` name the server and the name. If queries of many Pods to one server remain unanswered, look at that server: `netsonde_dns_queries_total{role="server"}`, its CPU and `netsonde_udp_receive_buffer_errors_total`. If the server has answered all queries that it received, they are lost on the path: look at `netsonde_packet_drops_total` and at the connection tracking table.',
    },
  ],
  open: async (scope, sources, settings) => {
    const { events } = settings;
    let { timeout } = settings.options;
    const { node } = sources.netns;
    const l7 = scope.own(await scope.l7.use({ probe: 'dns' }));
    const learner = new DnsLearner(scope);
    const instance = await openTally<Layout, DnsRows>(
      scope,
      sources,
      settings,
      {
        hooks: PARSER,
        shared: l7.maps,
        room: { map: ROWS, rows: ROWS_MAX, preallocated: MAX_ENTRIES.dns_rows, rests: ROLES.length },
        onDemand: { dns_waiting_more: WAITING_MAX - MAX_ENTRIES.dns_waiting, dns_missing: MISSING_MAX },
        events: learner.ring,
        sizes: { events: RING_BYTES },
        constants: {
          notes_missing: events,
          reads_typed: sources.bpf.btf().functionParameters('bpf_rdonly_cast') !== undefined,
          ...(node === undefined ? {} : { node_netns: BigInt(node.id) }),
        },
      },
      (object) =>
        new DnsRows(object, {
          map: ROWS,
          owners: scope.owners,
          hostPods: scope.hostPods,
          earlier: scope.retained(PLACE_ROWS),
          countOf: queriesOf,
        }),
    );
    const { object, tally } = instance;
    scope.own(learner.start(instance));
    l7.plug(object, {
      datagram_dns: { sent: 'dns_datagram_sent', received: 'dns_datagram_received' },
      dns: { sent: 'dns_sent', received: 'dns_received' },
    });
    const running = instance.running();
    const requests = scope.own(new ProbeRequests(scope, l7.requests, DNS_EDGE_METRICS, ['dns_udp', 'dns_tcp']));
    // The programs apply the Pod filter by namespace, so they count all Pods in the node's namespace.
    const isShown = (subject: NetnsId) => !isHostPodId(subject) || running.isShown?.(subject) !== false;
    const shownCounts = () => tally.counts().filter(({ subject }) => isShown(subject));
    const subjectOf = ({ netns, cgroup }: DnsFinding['place']) =>
      (cgroup === 0 ? undefined : scope.hostPods.subjectOf(cgroup)) ?? scope.owners.homeOf(netns);
    const storms = new StormWatch(object, settings.options.storm, subjectOf, performance.now());
    const silent = scope.retained(SILENT_SERVERS).value;
    scope.own(
      sources.netns.onSweep((isDead) => {
        const isGone = (id: NetnsId) => isDead(id) || scope.owners.hasDeparted(id);
        forgetSilent(silent, isGone);
        scope.names.sweep(isGone);
      }),
    );
    const limiterOf = (limit: number) => new Limiter(limit * (LOOK_EVERY_MS / 1_000));
    let limiter = limiterOf(settings.limit);
    await watchRepeatedly<DnsFinding>(scope, {
      everyMs: LOOK_EVERY_MS,
      what: 'unanswered DNS queries',
      look: async () => {
        const unanswered = giveUp(object, timeout);
        await scope.hostPods.find(
          new Set(unanswered.map(({ place }) => place.cgroup).filter((cgroup) => cgroup !== 0)),
        );
        for (const { place, body } of unanswered) {
          const { role, server, queries } = body.fields;
          if (role === 'client') addSilent(silent, subjectOf(place), server, queries);
        }
        if (!events) return { found: [], limited: 0 };
        const clients = async () => {
          await tally.find();
          return shownCounts().filter(({ role }) => role === 'client');
        };
        const found = await storms.look(clients, performance.now());
        return limiter.admit([...unanswered, ...found], ({ place }) => subjectOf(place));
      },
      publish: ({ type, place, body }) =>
        withSubject(scope.hostPods, place, (netns) => {
          if (!isShown(netns)) return;
          if (type === 'dns_unanswered') scope.publish(type, { ...body, netns });
          else scope.publish(type, { ...body, netns });
        }),
    });
    let shown = shownBuckets(settings.options.buckets);
    return {
      ...running,
      apply: ({ limit, options }) => {
        timeout = options.timeout;
        storms.threshold = options.storm;
        limiter = limiterOf(limit);
        shown = shownBuckets(options.buckets);
        return true;
      },
      programs: () => [...l7.report.programs(), ...(running.programs?.() ?? [])],
      mapBytes: () => ({ ...l7.report.mapBytes(), ...running.mapBytes?.() }),
      health: () => ({
        reader: l7.hook,
        note: requests.note,
        degraded: [...l7.degraded, ...running.health().degraded, ...scope.hostPods.degraded],
      }),
      requests: () => requests.last,
      collect: async (emit) => {
        await tally.find();
        await requests.collect(emit, isShown);
        learner.emit(emit);
        const waiting = sumBy(waitingQueries(object), (query) => `${subjectOf(query)}/${query.role}`);
        for (const [subject, servers] of silent) {
          if (!isShown(subject)) continue;
          for (const [server, count] of servers) emit('silentServers', subject, count, { server });
        }
        for (const counts of shownCounts()) {
          emitCounts(emit, counts, shown);
          const { subject, role } = counts;
          emit('waiting', subject, waiting.get(`${subject}/${ROLES.indexOf(role)}`) ?? 0, { role });
        }
      },
    };
  },
});

function sumBy<T extends { readonly count: number }>(items: readonly T[], keyOf: (item: T) => string) {
  const sums = new Map<string, Counter>();
  for (const item of items) sums.set(keyOf(item), addCounters(sums.get(keyOf(item)) ?? 0, item.count));
  return sums;
}
