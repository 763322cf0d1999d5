import { flowEnd, flowRole } from '#bpf/generated/common.ts';
import { nameOf } from '#bpf/layout.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import type { CountRow } from '#probe/counts.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { FAILURE_CAUSES, FAILURES, FAILURES_HELP, type FailureCause, isFailure } from '#probe/flow_row.ts';
import { bucketsOption, type HistogramRow, histogramValue, isEmpty, LATENCY, shownBuckets } from '#probe/histogram.ts';
import { withSubject } from '#probe/host_pods.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { type BucketRange, defineMetrics, type Emit } from '#probe/metric.ts';
import type { SocketEnd } from '#probe/socket_end.ts';
import { TCP_ENDS_HOOKS } from '#probe/tcp_ends_object.ts';

// These metrics are per network namespace. A TCP socket stays in one namespace throughout its life and carries the
// namespace cookie.

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
    help: 'Time in which TCP connections were established: at a client from the first SYN to the SYN-ACK, at a server from the SYN-ACK to its acknowledgement.',
    source: 'sock:inet_sock_set_state, tcp_sock.srtt_us, map connect_times',
    detail: 'core',
    labels: { role: { help: 'Side of the Pod.', values: ROLES } },
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
      retransmits: { type: 'number', help: 'Number of times that the SYN was sent again.' },
    },
  },
  connection_timed_out: {
    help: 'An established TCP connection has ended because the other end no longer acknowledged.',
    severity: 'warning',
    equalBy: ['state'],
    client: ({ role }) => (role === 'client' ? 'src' : 'dst'),
    fields: {
      state: { type: 'string', help: 'State of the connection before it ended.' },
      role: { type: 'string', help: 'Side of the Pod: client or server.' },
      sentBytes: { type: 'number', help: 'Bytes of payload that were sent.' },
      receivedBytes: { type: 'number', help: 'Bytes of payload that were received.' },
      retransmits: { type: 'number', help: 'Segments that were sent again.' },
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
    'TCP connections that a Pod could not establish, by cause, and the time that establishing them took, with an event for each failure. Always worth having.',
  guide: {
    question: 'Which connections of a Pod fail, why, and how long does it take to establish one?',
    when: 'Look here when a Pod cannot reach another one, or when requests are slow although the server is fast.',
    query: 'sum by (namespace, pod, cause) (rate(netsonde_tcp_connect_failures_total[5m])) > 0',
    limits: [
      'A connection for which the node has no route fails before there is anything to count.',
      'The time of a server begins with its SYN-ACK; where that was sent again, the time is not known and counts as untracked.',
      'At most 4,096 connections whose SYN was sent again are followed at a time; the times of others count as untracked.',
    ],
  },
  metrics,
  events,
  options: { buckets: bucketsOption('1ms', '4s') },
  hooks: TCP_ENDS_HOOKS,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF, ring buffers and atomic operations with a result (5.12).',
  },
  measured: {
    note: 'With all parts of `flow` as well, the three copies of the program take 272, 64 and 60 ns for each change of a TCP state, of which a connection with both ends on the node has ten (20,000 connections of one process on an idle machine, above an empty program).',
  },
  open: async (scope, _, settings) => {
    const { podFilter, limit, options } = settings;
    const followed =
      podFilter && scope.own(scope.filters.follow(podFilter, { add: () => undefined, remove: () => undefined }));
    const isShown = followed && ((id: NetnsId) => followed.isIncluded(id));
    const report = (end: SocketEnd) =>
      withSubject(scope.hostPods, end, (netns) => {
        if (isShown?.(netns) === false) return;
        if (isFailure(end.end)) scope.publish('connection_failed', failedEvent({ ...end, netns }, FAILURES[end.end]));
        else scope.publish('connection_timed_out', timedOutEvent({ ...end, netns }));
      });
    const user = scope.own(
      await scope.tcpEnds.use({
        probe: 'tcpconnect',
        connects: true,
        reports: settings.events ? [{ consumer: 'failure', rate: limit, onEnd: report }] : [],
      }),
    );
    scope.own({
      [Symbol.dispose]: () => {
        scope.retained(EVENT_LEDGER).value = user.ledger('failure');
      },
    });
    const shown = shownBuckets(options.buckets);
    return {
      ...user.report,
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
