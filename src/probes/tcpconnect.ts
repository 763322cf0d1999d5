import { flowEnd, flowRole } from '#bpf/generated/common.ts';
import { nameOf } from '#bpf/layout.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineProbe, type ProbeSettings } from '#probe/contract.ts';
import type { CountRow } from '#probe/counts.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { FAILURE_CAUSES, FAILURES, FAILURES_HELP, type FailureCause, isFailure } from '#probe/flow_row.ts';
import { bucketsOption, type HistogramRow, histogramValue, isEmpty, LATENCY, shownBuckets } from '#probe/histogram.ts';
import { withSubject } from '#probe/host_pods.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { type BucketRange, defineMetrics, type Emit } from '#probe/metric.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import { TCP_ENDS_HOOKS } from '#probe/tcp_ends_object.ts';
import type { EndReports } from '#probe/tcp_ends_use.ts';

// These metrics are per network namespace. A TCP socket remains in one namespace throughout its life, and carries the
// cookie of the namespace.

const ROLES = ['client', 'server'] as const;

const metrics = defineMetrics({
  failures: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_connect_failures_total',
    help: 'TCP connections that a client could not establish, by cause.',
    source: 'sock:inet_sock_set_state, sock.sk_err, map counts',
    detail: 'core',
    labels: { cause: { help: FAILURES_HELP, values: FAILURE_CAUSES } },
  },
  connectTime: {
    ...LATENCY,
    scope: 'pod',
    name: 'netsonde_tcp_connect_seconds',
    help: 'Time to establish a TCP connection: for a client, from the first SYN to the SYN-ACK; for a server, from the SYN-ACK to its acknowledgement.',
    source: 'sock:inet_sock_set_state, tcp_sock.srtt_us, map connect_times',
    detail: 'core',
    labels: { role: { help: 'Role of the Pod.', values: ROLES } },
  },
});

const events = defineEvents({
  connection_failed: {
    help: 'A client could not establish a TCP connection.',
    severity: 'warning',
    info: 'if the application gave up before the kernel did',
    equalBy: ['cause'],
    client: () => 'src',
    fields: {
      cause: { type: 'string', help: FAILURES_HELP },
      seconds: { type: 'number', help: 'Time since the first SYN.', optional: true },
      retransmits: { type: 'number', help: 'Number of SYN retransmissions.' },
    },
  },
  connection_timed_out: {
    help: 'An established TCP connection ended because the other end stopped acknowledging.',
    severity: 'warning',
    equalBy: ['state'],
    client: ({ role }) => (role === 'client' ? 'src' : 'dst'),
    fields: {
      state: { type: 'string', help: 'State of the connection before it ended.' },
      role: { type: 'string', help: 'Role of the Pod: client or server.' },
      sentBytes: { type: 'number', help: 'Payload bytes sent.' },
      receivedBytes: { type: 'number', help: 'Payload bytes received.' },
      retransmits: { type: 'number', help: 'Segments retransmitted.' },
    },
  },
});

const CAUSES: Readonly<Record<FailureCause, string>> = {
  refused: 'it was refused',
  timeout: 'there was no response',
  unreachable: 'the address is unreachable',
  given_up: 'the application gave up',
  no_port: 'no local port was free',
  other: 'it failed',
};

function failedEvent(end: SocketEnd, cause: FailureCause): EventBody<(typeof events)['connection_failed']> {
  const { timeNs, netns, src, dst, protocol, connectSeconds: seconds, counts } = end;
  const retransmits = counts.retransmitted_segments;
  const after = seconds === undefined ? '' : ` after ${seconds.toPrecision(3)} s`;
  const again = retransmits === 0 ? '' : `; the SYN was sent ${retransmits + 1} times`;
  return {
    timeNs,
    netns,
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    protocol,
    fields: { cause, retransmits, ...(seconds === undefined ? {} : { seconds }) },
    ...(cause === 'given_up' ? { severity: 'info' as const } : {}),
    message: `The connection from ${src} to ${dst} was not established: ${CAUSES[cause]}${after}${again}.`,
  };
}

function timedOutEvent(end: SocketEnd): EventBody<(typeof events)['connection_timed_out']> {
  const { timeNs, netns, src, dst, protocol, role, state, counts } = end;
  return {
    timeNs,
    netns,
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    protocol,
    fields: {
      state,
      role,
      sentBytes: counts.sent_bytes,
      receivedBytes: counts.received_bytes,
      retransmits: counts.retransmitted_segments,
    },
    message: `The connection from ${src} to ${dst} has ended in ${state}: the other end no longer acknowledged, after ${counts.retransmitted_segments} retransmissions.`,
  };
}

function emitFailures(emit: Emit<typeof metrics>, rows: readonly CountRow[]): void {
  for (const { netns, reason, side, count } of rows) {
    const end = nameOf(flowEnd, reason);
    if (end === undefined || !isFailure(end) || side !== flowRole.client) continue;
    emit('failures', netns, count, { cause: FAILURES[end] });
  }
}

function emitTimes(emit: Emit<typeof metrics>, rows: readonly HistogramRow<NetnsId>[], shown: BucketRange): void {
  for (const { key, histograms } of rows) {
    for (const [index, role] of ROLES.entries()) {
      const histogram = histograms[index];
      if (histogram === undefined || isEmpty(histogram)) continue;
      emit('connectTime', key, histogramValue(histogram, shown), { role });
    }
  }
}

export const tcpconnect = defineProbe({
  name: 'tcpconnect',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'TCP connections that a Pod could not establish, by cause, and the time to establish connections, with an event for each failure. Recommended everywhere.',
  guide: {
    question: 'Which connections of a Pod fail, why, and how long does it take to establish one?',
    when: 'Look here when a Pod cannot reach another one, or when requests are slow although the server is fast.',
    query: 'sum by (namespace, pod, cause) (rate(netsonde_tcp_connect_failures_total[5m])) > 0',
    limits: [
      'A connection for which the node has no route fails before it can be counted.',
      'For a server, the time starts with its SYN-ACK. If the SYN-ACK was retransmitted, the time is not known and is counted as untracked.',
      'At most 4,096 connections with a retransmitted SYN are tracked at a time; the times of others are counted as untracked.',
    ],
  },
  metrics,
  events,
  options: { buckets: bucketsOption('1ms', '4s') },
  inPlace: ['events', 'limit', 'buckets'],
  hooks: TCP_ENDS_HOOKS,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF, ring buffers and atomic operations that return a value (5.12).',
  },
  measured: {
    collect: { ms: 0.55 },
    note: 'Together with all parts of `flow`, the three copies of the program take 0.7 µs for a connection with both ends on the node, and 1.1 µs if two processes open connections at the same time. This is 0.7 and 1.1 % of a CPU at 10,000 connections per second (`npm run bench -- flows` on a busy machine, on top of the cost of an empty program).',
  },
  open: async (scope, _, settings) => {
    const { podFilter } = settings;
    const followed =
      podFilter && scope.own(scope.filters.follow(podFilter, { add: () => undefined, remove: () => undefined }));
    const isShown = followed && ((id: NetnsId) => followed.isIncluded(id));
    const report = (end: SocketEnd) =>
      withSubject(scope.hostPods, end, (netns) => {
        if (isShown?.(netns) === false) return;
        if (isFailure(end.end)) scope.publish('connection_failed', failedEvent({ ...end, netns }, FAILURES[end.end]));
        else scope.publish('connection_timed_out', timedOutEvent({ ...end, netns }));
      });
    const reportsOf = ({ events, limit }: ProbeSettings<unknown>): EndReports[] =>
      events ? [{ consumer: 'failure', rate: limit, onEnd: report }] : [];
    const user = scope.own(
      await scope.tcpEnds.use({ probe: 'tcpconnect', connects: true, reports: reportsOf(settings) }),
    );
    scope.own({
      [Symbol.dispose]: () => {
        scope.retained(EVENT_LEDGER).value = user.ledger('failure');
      },
    });
    let shown = shownBuckets(settings.options.buckets);
    return {
      ...user.report,
      apply: (changed) => {
        user.change({ reports: reportsOf(changed) });
        shown = shownBuckets(changed.options.buckets);
        return true;
      },
      health: () => ({ reader: user.hook, degraded: user.degraded }),
      ledger: () => user.ledger('failure'),
      notShown: () => user.notShown(),
      isShown,
      collect: async (emit) => {
        const isOn = (id: NetnsId) => isShown?.(id) !== false;
        emitFailures(
          emit,
          user.failures().filter(({ netns }) => isOn(netns)),
        );
        emitTimes(
          emit,
          user.times().filter(({ key }) => isOn(key)),
          shown,
        );
      },
    };
  },
});
