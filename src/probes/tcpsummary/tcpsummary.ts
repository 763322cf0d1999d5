import { tcpState } from '#bpf/generated/common.ts';
import { namesOf } from '#bpf/layout.ts';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { Unsupported } from '#core/reader.ts';
import { defineProbe } from '#probe/contract.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, type Emit, NO_LABELS } from '#probe/metric.ts';
import { fullness, type TcpSummary } from '#sources/sockets/snapshot.ts';
import type { Sources } from '#sources/sources.ts';
import { ACCEPT_QUEUE_EVENTS, watchAcceptQueues } from './accept_queue_events.ts';
import { ListenDrops } from './listen_drops.ts';

// These metrics are per network namespace. Every TCP socket belongs to one namespace (kernel: include/net/sock.h,
// sock_common.skc_net), although one hash table contains the sockets of the whole machine.

const STATES = namesOf(tcpState);

const PORT = { help: 'TCP port that sockets listen on.', example: '443', max: 32 } as const;

const queue = { type: 'gauge', scope: 'pod', unit: 'bytes', labels: {} } as const;
const acceptQueue = { type: 'gauge', scope: 'pod', labels: { port: PORT } } as const;

const metrics = defineMetrics({
  connections: {
    type: 'gauge',
    scope: 'pod',
    labels: { state: { help: 'State of the socket; new_syn_recv for a connection request.', values: STATES } },
    name: 'netsonde_tcp_connections',
    help: 'TCP sockets by state. A socket that is opened, is closed or changes its state while sockets are being counted may be missed or counted twice.',
    source: 'sock_common.skc_state, SOCK_DIAG idiag_state',
    detail: 'core',
  },
  receiveQueue: {
    ...queue,
    name: 'netsonde_tcp_receive_queue_bytes',
    help: 'Bytes that TCP has received and applications have not read yet. A high value means that the applications are too slow.',
    source: 'tcp_sock.rcv_nxt, copied_seq; SOCK_DIAG idiag_rqueue',
    detail: 'core',
  },
  sendQueue: {
    ...queue,
    name: 'netsonde_tcp_send_queue_bytes',
    help: 'Bytes that applications have written and the other ends have not acknowledged yet. A high value means that the network or the receiver is too slow.',
    source: 'tcp_sock.write_seq, snd_una; SOCK_DIAG idiag_wqueue',
    detail: 'core',
  },
  largestReceiveQueue: {
    ...queue,
    name: 'netsonde_tcp_receive_queue_largest_bytes',
    help: 'Unread bytes of the TCP connection with the most unread bytes.',
    source: 'tcp_sock.rcv_nxt, copied_seq; SOCK_DIAG idiag_rqueue',
    detail: 'full',
  },
  largestSendQueue: {
    ...queue,
    name: 'netsonde_tcp_send_queue_largest_bytes',
    help: 'Unacknowledged bytes of the TCP connection with the most unacknowledged bytes.',
    source: 'tcp_sock.write_seq, snd_una; SOCK_DIAG idiag_wqueue',
    detail: 'full',
  },
  acceptQueueLength: {
    ...acceptQueue,
    name: 'netsonde_tcp_accept_queue_length',
    help: 'Connections waiting to be accepted, over all sockets that listen on the port.',
    source: 'sock.sk_ack_backlog, SOCK_DIAG idiag_rqueue',
    detail: 'core',
  },
  acceptQueueLimit: {
    ...acceptQueue,
    name: 'netsonde_tcp_accept_queue_limit',
    help: 'Maximum number of connections waiting to be accepted, over all sockets that listen on the port. Further connections are dropped.',
    source: 'sock.sk_max_ack_backlog, SOCK_DIAG idiag_wqueue',
    detail: 'core',
  },
  acceptQueueFullest: {
    ...acceptQueue,
    unit: 'ratio',
    name: 'netsonde_tcp_accept_queue_fullest_ratio',
    help: 'Fill level of the fullest accept queue among the sockets that listen on the port (SO_REUSEPORT). At 1, that socket refuses connections, even if the others are empty.',
    source: 'sock.sk_ack_backlog, sk_max_ack_backlog; SOCK_DIAG idiag_rqueue, idiag_wqueue',
    detail: 'core',
  },
  listenDrops: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_port_listen_drops_total',
    help: 'Connections dropped by the sockets that listen on the port, mostly because the accept queue was full.',
    source: 'sock.sk_drops, map flow_rows',
    detail: 'core',
    labels: { port: PORT },
  },
});

/** Label sets, which are created only once because they are emitted for every namespace. */
const STATE_LABELS = STATES.map((state) => ({ state }));

const QUEUES = ['receiveQueue', 'sendQueue', 'largestReceiveQueue', 'largestSendQueue'] as const;

async function collectAll(emit: Emit<typeof metrics>, { netns, sockets }: Sources, cycle: Cycle): Promise<void> {
  const snapshot = await sockets.read(cycle);
  const ids = netns.snapshot().map(({ id }) => id);
  const summaries = ids.map((id) => snapshot.summary(id));
  for (const [index, labels] of STATE_LABELS.entries()) {
    emit.column('connections', ids, labels, (row) => countOf(summaries[row], index + 1));
  }
  for (const queue of QUEUES) emit.column(queue, ids, NO_LABELS, (row) => summaries[row]?.[queue]);
  for (const [row, id] of ids.entries()) {
    for (const { port, length, limit, fullest } of summaries[row]?.acceptQueues ?? []) {
      const labels = { port: String(port) };
      emit('acceptQueueLength', id, length, labels);
      emit('acceptQueueLimit', id, limit, labels);
      emit('acceptQueueFullest', id, fullness(fullest), labels);
    }
    if (cycle.isDue) await cycle.pause();
  }
}

function countOf(summary: TcpSummary | undefined, state: number): number | undefined {
  return summary && (summary.sockets[state] ?? 0);
}

/** Checks the fallback. @throws {Unsupported} if netlink cannot query the namespaces either */
function checkNetlink({ netns, netlink, sockets }: Sources): void {
  try {
    if (netns.node !== undefined) netlink.check(netns.node, freeCycle());
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    throw new Unsupported(`${error.message}; the walk in the kernel cannot run: ${sockets.health.note}`, {
      cause: error,
    });
  }
}

export const tcpsummary = defineProbe({
  name: 'tcpsummary',
  kind: 'netlink',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'TCP connections of each Pod by state, the bytes in their queues, and the accept queues of its ports, with an event for each full accept queue. Recommended everywhere.',
  guide: {
    question: 'How many TCP connections does a Pod have, in which states, and does data wait in their queues?',
    when: 'Look here when clients wait for connections (accept queues), when a server reads too slowly, or when connections are not closed.',
    query: 'max by (namespace, pod, port) (netsonde_tcp_accept_queue_fullest_ratio) > 0.5',
    limits: [
      'A full accept queue causes an event if it refused connections, even between two scrapes. The metrics show it only if it is full during a scrape.',
      'Each scrape is a snapshot: it misses sockets that come and go between two scrapes, and a socket that changes its state during the scrape may be missed or counted twice.',
      'If there are more than about half a million sockets, the scrape of the probe is abandoned. It then shows nothing and reports the reason.',
      'A namespace may have its own hash table for connections (`net.ipv4.tcp_child_ehash_entries`). Up to 262,144 buckets are read for each Pod. A namespace beyond this limit has no rows, and the probe is `degraded`.',
    ],
  },
  metrics,
  events: ACCEPT_QUEUE_EVENTS,
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. With BTF and since 6.1, one walk in the kernel counts the sockets of all namespaces; otherwise SOCK_DIAG in each, with CAP_SYS_ADMIN.',
  },
  measured: {
    collect: {
      ms: 7.4,
      withoutMs: 80.7,
      note: 'the walk also reads the counters of `flow`; 2.6 ms without them, in an earlier run',
    },
  },
  alerts: [
    {
      name: 'NetsondePortListenDrops',
      severity: 'warning',
      metric: 'listenDrops',
      of: 'rate',
      by: ['port'],
      above: 0,
      for: '10m',
      summary: 'drops {{ $value | humanize }} connections a second that arrive at port {{ $labels.port }}.',
      description:
        'The sockets that listen on the port drop them, mostly because the accept queue is full: the application accepts too slowly. Its clients wait a second or more for a connection.',
      runbook:
        'The sockets that listen on the port named in the alert drop connections, mostly because their accept queue is full. See *Flows: Listen drops, by port*, and [Connections wait at the server](#connections-wait-at-the-server).',
    },
  ],
  open: async (scope, sources, { events }) => {
    const { sockets, netns } = sources;
    scope.own(await sockets.use());
    if (sockets.health.reader !== 'pass') checkNetlink(sources);
    if (events) await watchAcceptQueues(scope, sources);
    const listenDrops = await ListenDrops.open(scope);
    scope.own(netns.onSweep((isDead) => listenDrops.forget(isDead)));
    return {
      ...listenDrops.report,
      health: () => ({ ...sockets.health, degraded: [...sockets.health.degraded, ...listenDrops.lack] }),
      collect: async (emit, cycle) => {
        await collectAll(emit, sources, cycle);
        for (const { netns, port, drops } of await listenDrops.read(cycle)) emit('listenDrops', netns, drops, { port });
      },
      ledger: () => scope.retained(EVENT_LEDGER).value,
    };
  },
});
