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
    help: 'TCP sockets by state. A socket that is opened, is closed or changes its state during the count may be missed or counted twice.',
    source: 'sock_common.skc_state, SOCK_DIAG idiag_state',
    detail: 'core',
  },
  receiveQueue: {
    ...queue,
    name: 'netsonde_tcp_receive_queue_bytes',
    help: 'Bytes that TCP has received and the applications have not read: the applications are too slow.',
    source: 'tcp_sock.rcv_nxt, copied_seq; SOCK_DIAG idiag_rqueue',
    detail: 'core',
  },
  sendQueue: {
    ...queue,
    name: 'netsonde_tcp_send_queue_bytes',
    help: 'Bytes that applications have written and the other sides have not acknowledged: the network or the receiver is too slow.',
    source: 'tcp_sock.write_seq, snd_una; SOCK_DIAG idiag_wqueue',
    detail: 'core',
  },
  largestReceiveQueue: {
    ...queue,
    name: 'netsonde_tcp_receive_queue_largest_bytes',
    help: 'Unread bytes of the TCP connection that has most of them.',
    source: 'tcp_sock.rcv_nxt, copied_seq; SOCK_DIAG idiag_rqueue',
    detail: 'full',
  },
  largestSendQueue: {
    ...queue,
    name: 'netsonde_tcp_send_queue_largest_bytes',
    help: 'Unacknowledged bytes of the TCP connection that has most of them.',
    source: 'tcp_sock.write_seq, snd_una; SOCK_DIAG idiag_wqueue',
    detail: 'full',
  },
  acceptQueueLength: {
    ...acceptQueue,
    name: 'netsonde_tcp_accept_queue_length',
    help: 'Connections that wait for the application to accept them, at all sockets that listen on the port.',
    source: 'sock.sk_ack_backlog, SOCK_DIAG idiag_rqueue',
    detail: 'core',
  },
  acceptQueueLimit: {
    ...acceptQueue,
    name: 'netsonde_tcp_accept_queue_limit',
    help: 'Connections that may wait to be accepted, at all sockets that listen on the port; further ones are dropped.',
    source: 'sock.sk_max_ack_backlog, SOCK_DIAG idiag_wqueue',
    detail: 'core',
  },
  acceptQueueFullest: {
    ...acceptQueue,
    unit: 'ratio',
    name: 'netsonde_tcp_accept_queue_fullest_ratio',
    help: 'Fill level of the fullest accept queue of the sockets that listen on the port (SO_REUSEPORT): at 1 that socket refuses connections, however empty the others are.',
    source: 'sock.sk_ack_backlog, sk_max_ack_backlog; SOCK_DIAG idiag_rqueue, idiag_wqueue',
    detail: 'core',
  },
  listenDrops: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_port_listen_drops_total',
    help: 'Connections that the sockets which listen on the port have dropped, mostly because the accept queue was full.',
    source: 'sock.sk_drops, map flow_rows',
    detail: 'core',
    labels: { port: PORT },
  },
});

/** Label sets, created once because they are emitted for every namespace. */
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

/** @throws {Unsupported} if netlink cannot query the namespaces either */
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
    'TCP connections of each Pod by state, the bytes in their queues, and the accept queues of its ports, with an event for each that was full. Always worth having.',
  guide: {
    question: 'How many TCP connections does a Pod have, in which states, and does data wait in their queues?',
    when: 'Look here when clients wait for connections (accept queues), when a server reads too slowly, or when connections are not closed.',
    query: 'max by (namespace, pod, port) (netsonde_tcp_accept_queue_fullest_ratio) > 0.5',
    limits: [
      'A full accept queue causes an event where it refused connections, also between two scrapes; the metrics show it only if it is full at the scrape.',
      'Each scrape looks at one moment: sockets that come and go between two scrapes are not seen, and a socket that changes its state during the look may be missed or counted twice.',
      'Above some half a million sockets the look is abandoned: the probe shows nothing, and gives the reason.',
      'A namespace may have a hash of its own for its connections (`net.ipv4.tcp_child_ehash_entries`): 262,144 buckets of a Pod are read; a namespace beyond them has no rows, and the probe is `degraded`.',
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
  measured: { collect: { ms: 2.6, withoutMs: 57.8 } },
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
