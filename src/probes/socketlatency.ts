import { FILE, type Layout, socketEvent, socketHistograms, socketKind } from '#bpf/generated/socketlatency.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, LATENCY } from '#probe/histogram.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { inOrderOf, LATENCY_SETTINGS, openNetnsLatencies } from '#probe/latency.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeTuple } from '#probe/scene.ts';

// These metrics are per network namespace. A socket belongs to the namespace in which it was created, and carries the
// cookie of that namespace.

const latency = { ...LATENCY, scope: 'pod', detail: 'core', labels: {} } as const;

const metrics = defineMetrics({
  read: {
    ...latency,
    name: 'netsonde_socket_read_delay_seconds',
    help: 'Time from the arrival of data at an empty TCP or UDP socket until a process read it. Excludes splice and kTLS.',
    source: 'sock:sk_data_ready, sock:sock_recv_length, map socket_histograms',
  },
  write: {
    ...latency,
    name: 'netsonde_socket_write_delay_seconds',
    help: 'Time from a write to a TCP socket without unsent data until a packet with that data was passed to the device.',
    source: 'tcp:tcp_sendmsg_locked, net:net_dev_queue, map socket_histograms',
  },
});

const KINDS = inOrderOf(socketHistograms, { read: { metric: 'read' }, write: { metric: 'write' } });

const fields = {
  delaySeconds: { type: 'number', help: 'Time that the data waited.' },
  process: { type: 'string', help: 'Name of the thread that read or wrote.' },
  pid: { type: 'number', help: 'Process ID of that thread on the node.' },
  queueBytes: { type: 'number', help: 'Bytes in the queue right before the read; TCP only.', optional: true },
  queueDatagrams: { type: 'number', help: 'Datagrams in the queue right before the read; UDP only.', optional: true },
} as const;

const events = defineEvents({
  socket_read_slow: {
    help: 'Data waited in a socket for longer than the threshold until a process read it.',
    severity: 'warning',
    equalBy: ['process'],
    fields,
  },
  socket_write_slow: {
    help: 'Data that a process wrote to a socket took longer than the threshold to be sent.',
    severity: 'warning',
    equalBy: ['process'],
    fields,
  },
});

const STORAGE =
  'the probe uses socket storage, which tracepoints and fentry programs support since 5.11 and kprobes never do';

const WRITE_FUNCTIONS = [
  hook('tp_btf/net_dev_queue', 1, 'data_sent'),
  hook('fexit/sk_stream_wait_memory', 1, 'write_goes_on_exit'),
  hook('fentry/tcp_sendmsg_locked', 3, 'data_written_entry'),
];

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'reads',
      why: STORAGE,
      // The hooks for reads precede those for arrivals, so that no read is missed after its arrival was observed.
      choices: [
        { hooks: [hook('tp_btf/sock_recv_length', 3, 'data_read'), hook('tp_btf/sk_data_ready', 1, 'data_arrived')] },
        {
          hooks: [
            hook('fexit/inet_recvmsg', 4, 'data_read_v4_exit'),
            hook('fexit/inet6_recvmsg', 4, 'data_read_v6_exit', 'ipv6'),
            hook('fentry/sock_def_readable', 1, 'data_arrived_entry'),
          ],
        },
      ],
    },
    {
      what: 'writes',
      optional: true,
      why: STORAGE,
      choices: [
        { hooks: [hook('tp_btf/net_dev_queue', 1, 'data_sent'), hook('tp_btf/tcp_sendmsg_locked', 1, 'data_written')] },
        // On kernels that have do_tcp_sendpages(), writes through this function do not pass through
        // tcp_sendmsg_locked().
        { hooks: [...WRITE_FUNCTIONS, hook('fentry/do_tcp_sendpages', 4, 'pages_written_entry')] },
        { hooks: WRITE_FUNCTIONS },
      ],
    },
  ],
};

type SlowEvent = EventBody<(typeof events)['socket_read_slow']>;

function decodeEvent(view: DataView, at: number, timeNs: bigint): SlowEvent {
  const { src, dst, protocol } = decodeTuple(view, at + socketEvent.offsets.tuple);
  const delayNs = Number(socketEvent.delay(view, at));
  const process = socketEvent.process(view, at);
  const pid = socketEvent.pid(view, at);
  const waiting = socketEvent.waiting(view, at);
  const took = formatDuration(delayNs);
  const isRead = socketEvent.kind(view, at) === socketKind.read;
  // An unconnected UDP socket has no peer address.
  const isConnected = src !== undefined && !src.endsWith(':0');
  return {
    timeNs,
    netns: asNetnsId(socketEvent.netns(view, at)),
    ...(isConnected ? { src } : {}),
    ...(dst === undefined ? {} : { dst }),
    protocol,
    fields: {
      delaySeconds: delayNs / 1e9,
      process,
      pid,
      ...(protocol === 'tcp' ? { queueBytes: waiting } : { queueDatagrams: waiting }),
    },
    message: isRead
      ? `${process} (pid ${pid}) read data${isConnected ? ` from ${src}` : ''} to ${dst} by ${protocol} after ${took}.`
      : `Data that ${process} (pid ${pid}) wrote from ${src} to ${dst} by ${protocol} was sent after ${took}.`,
  };
}

export const socketlatency = defineProbe({
  name: 'socketlatency',
  kind: 'ebpf',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'Time that received data waits to be read and written data waits to be sent, per Pod. Distinguishes a slow application from a slow network.',
  guide: {
    question: 'Is the application slow, and how long does data wait in its sockets?',
    when: 'Enable it for the affected Pods when responses are slow although no packets are lost.',
    query:
      'histogram_quantile(0.99, sum by (le, namespace, pod) (rate(netsonde_socket_read_delay_seconds_bucket[5m]))) > 0.1',
    limits: [
      'Reads are measured from the arrival of data at an empty socket to the next read. Data that arrives in between is not measured separately.',
      'Writes are measured for TCP only. Reads by `splice` and by TLS in the kernel are not measured.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('100ms').describe('Minimum delay of a read or a packet that causes an event.'),
    buckets: bucketsOption('4us', '4s'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { socket_histograms: 'rows', socket_states: 'device' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and socket storage (5.11); fentry before the tracepoints sock:sk_data_ready (6.3) and tcp:tcp_sendmsg_locked (6.16).',
  },
  measured: {
    programs: { ns: { sk_data_ready: '73', sock_recv_length: '186', tcp_sendmsg_locked: '211', net_dev_queue: '37' } },
  },
  open: (scope, sources, settings) =>
    openNetnsLatencies<Layout, typeof metrics>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: { threshold: settings.options.threshold },
        events: {
          recordBytesMax: socketEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const type = socketEvent.kind(view, at) === socketKind.read ? 'socket_read_slow' : 'socket_write_slow';
            scope.publish(type, decodeEvent(view, at, wallNs(socketEvent.time(view, at))));
          },
        },
      },
      'socket_histograms',
      KINDS,
    ),
});
