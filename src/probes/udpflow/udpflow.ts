import { FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/udpflow.ts';
import { milliseconds } from '#core/duration.ts';
import { isHostPodId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { openTally } from '#probe/ebpf.ts';
import { isForgotten } from '#probe/fate.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics, type JointBound, NO_LABELS, type RowReader } from '#probe/metric.ts';
import { type UdpEdge, UdpEdges } from './udp_edges.ts';
import { LEAVE, ROWS, type ShownRow, UDP_ROWS, UdpRows } from './udp_rows.ts';

// These metrics are per network namespace and, in the node's namespace, per cgroup. A datagram belongs to the namespace
// of its socket. UDP sockets have no counters, so the programs must process each packet. The kernel runs the programs
// of the root cgroup once for each packet of each socket in each direction. With GSO and GRO, one packet contains
// several datagrams. Fragmentation takes place after the sender's programs have run, and reassembly before the
// receiver's programs run.

/** Number of rows that are divided among the owners: 96 rows for each owner. */
const ROWS_MAX = 131_072;

const EDGES: JointBound = { max: { core: 16, full: 64 }, rank: ['sentBytes', 'receivedBytes'] };

const edge = {
  type: 'counter',
  scope: 'pod',
  detail: 'core',
  labels: {
    role: {
      help: 'client if the local port is in `net.ipv4.ip_local_port_range` of the namespace, otherwise server.',
      example: 'client',
      joint: EDGES,
    },
    peer: { help: 'Address of the peer.', example: '10.96.0.10', joint: EDGES },
    port: {
      help: 'Server port: the remote port of a client, or the local port of a server.',
      example: '53',
      joint: EDGES,
      max: 16,
    },
  },
} as const;

const metrics = defineMetrics({
  sentBytes: {
    ...edge,
    name: 'netsonde_udp_flow_sent_bytes_total',
    unit: 'bytes',
    help: 'Payload bytes of the datagrams that UDP sockets sent, excluding IP and UDP headers.',
    source: 'cgroup_skb/egress, map udp_rows',
  },
  receivedBytes: {
    ...edge,
    name: 'netsonde_udp_flow_received_bytes_total',
    unit: 'bytes',
    help: 'Payload bytes of the datagrams that reached UDP sockets, excluding IP and UDP headers.',
    source: 'cgroup_skb/ingress, map udp_rows',
  },
  sentDatagrams: {
    ...edge,
    name: 'netsonde_udp_flow_sent_datagrams_total',
    help: 'Datagrams that UDP sockets sent.',
    source: 'cgroup_skb/egress, map udp_rows',
  },
  receivedDatagrams: {
    ...edge,
    name: 'netsonde_udp_flow_received_datagrams_total',
    help: 'Datagrams that reached UDP sockets, including those dropped because the receive buffer was full.',
    source: 'cgroup_skb/ingress, map udp_rows',
  },
});

/** Returns the choices of programs. The second one is for kernels before 6.2, and reads kernel memory with a helper. */
function choicesOf(direction: 'egress' | 'ingress', program: 'udp_sent' | 'udp_received') {
  const programs = [program, `${program}_copied`] as const;
  return programs.map((each) => ({ hooks: [hook(`cgroup_skb/${direction}`, 1, each)] }));
}

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    { what: 'sent datagrams', choices: choicesOf('egress', 'udp_sent') },
    { what: 'received datagrams', choices: choicesOf('ingress', 'udp_received') },
  ],
  calls: [LEAVE],
};

function readerOf(rows: UdpRows, edges: Pick<UdpEdges, 'identityOf'>): RowReader<typeof metrics, ShownRow> {
  return {
    subject: ({ subject }) => subject,
    key: ({ id }) => id,
    labels: ({ labels }) => labels,
    peerNamespace: ({ id }) => edges.identityOf(id)?.namespace ?? '',
    isLast: ({ isLast }) => isLast,
    counted: (row) => rows.counted(row),
    samples: ({ counts }, put) => {
      put('sentBytes', counts.sentBytes, NO_LABELS);
      put('receivedBytes', counts.receivedBytes, NO_LABELS);
      put('sentDatagrams', counts.sentDatagrams, NO_LABELS);
      put('receivedDatagrams', counts.receivedDatagrams, NO_LABELS);
    },
  };
}

export const udpflow = defineProbe({
  name: 'udpflow',
  kind: 'ebpf',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'UDP datagrams and payload bytes of each Pod, by peer and port. The probe adds a cost to every packet of the node.',
  guide: {
    question: 'Which peers does a Pod exchange UDP datagrams with, and how many?',
    when: 'Enable it to find the peer behind UDP traffic, such as DNS, QUIC, syslog, media or StatsD. Leave it disabled if packet rates are high and nobody needs data about UDP.',
    query: 'topk(10, sum by (namespace, pod, role, peer, port) (rate(netsonde_udp_flow_sent_bytes_total[5m])))',
    limits: [
      'The probe adds a cost to every packet that a socket of the node sends or receives, including TCP, because the kernel calls a program for each packet, once for each direction. Calling an empty program took 80 ns on a busy machine (30 to 40 ns on an idle one), which is the entire cost for TCP. A datagram took up to 160 ns more.',
      'Byte counts include only the payload, which programs pass to `send()` and get from `recv()`. IP and UDP headers, IP fragments and retransmissions below UDP are not included.',
      'A fragmented datagram is counted once: before fragmentation by the sender, and after reassembly by the receiver. Each segment of a buffer that was sent with `UDP_SEGMENT` or received with `UDP_GRO` is counted as a datagram.',
      'UDP has no connections, so the local port determines the role. An end is a client if its port is in `net.ipv4.ip_local_port_range` of the namespace, and otherwise a server. A server that is bound to a port in that range is therefore shown as a client.',
      'A received datagram is counted when it reaches the socket, even if the kernel drops it because the receive buffer is full; `netsonde_udp_receive_buffer_errors_total` counts these drops. A datagram for several sockets, such as multicast, is counted once for each socket.',
      'The labels contain addresses. `/api/v1/map` and the [map](page.md#map) of the page show their owners if `flow` is enabled as well.',
      'Sent datagrams that a firewall drops before they leave the namespace are not counted, but those that are dropped by a queue or on the path are.',
      'The addresses are those of the packet at the socket. If rules of the namespace itself translate addresses, as those of kube-proxy do on the node, a client sends to the backend and receives from the Service.',
      'UDP-Lite, raw sockets, `AF_PACKET` and kernel tunnels (VXLAN, WireGuard) are not counted.',
      'An owner has 96 rows in the kernel (12 before Linux 6.1). Further edges are added up in the row `*`, whose sum is exact. A row that counts nothing for `idle` is freed for another edge.',
    ],
  },
  metrics,
  events: {},
  options: {
    idle: milliseconds('1m', '1s', '1h').describe(
      'Time without a datagram after which the kernel row of an edge is freed for another edge. Its counts are still exported.',
    ),
  },
  inPlace: ['idle'],
  hooks,
  maps: { [ROWS]: 'rows', udp_rest: 'fixed' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'],
    kernel:
      'BTF (5.8) and cgroup v2. The root cgroup must not have a program that excludes others (attached without BPF_F_ALLOW_MULTI).',
  },
  measured: {
    collect: { ms: 1.8, note: 'with one edge for each Pod' },
    programs: {
      ns: { 'cgroup_skb/egress': '0-160', 'cgroup_skb/ingress': '0-150' },
      note: 'the lower figure is for TCP, the upper one for a datagram, on a busy machine where an empty program took 80 ns; a datagram without a row takes 570 ns',
    },
  },
  panels: [
    {
      on: 'pod',
      title: 'UDP sent, by peer',
      lines: [{ metric: 'sentBytes', show: 'rate', by: ['role', 'peer', 'port'] }],
      what: 'Payload of the datagrams that the Pod sends, for each peer and server port. `*` is the sum of all others.',
    },
    {
      on: 'pod',
      title: 'UDP received, by peer',
      lines: [{ metric: 'receivedBytes', show: 'rate', by: ['role', 'peer', 'port'] }],
      what: 'Payload of the datagrams that reach sockets of the Pod. Requests without responses show a peer that sends nothing.',
    },
  ],
  open: async (scope, sources, settings) => {
    const { idle } = settings.options;
    const { node } = sources.netns;
    const instance = await openTally<Layout, UdpRows>(
      scope,
      sources,
      settings,
      {
        hooks,
        room: { map: ROWS, rows: ROWS_MAX, preallocated: MAX_ENTRIES.udp_rows, rests: 0 },
        constants: node === undefined ? {} : { node_netns: BigInt(node.id) },
      },
      (object) =>
        new UdpRows(object, scope.owners, scope.retained(UDP_ROWS), { hostPods: scope.hostPods, idleMs: idle }),
    );
    const running = instance.running();
    const peers = scope.own(scope.peers.follow<UdpEdge>({ pods: false, subjectOf: ({ place }) => place.netns }));
    const edges = new UdpEdges(peers, (netns) => isForgotten(scope.owners, netns));
    const reader = readerOf(instance.tally, edges);
    return {
      ...running,
      apply: ({ options }) => {
        instance.tally.idleMs = options.idle;
        return true;
      },
      health: () => {
        const { reader: hooked, degraded } = running.health();
        return { reader: hooked, degraded: [...degraded, ...scope.hostPods.degraded] };
      },
      datagrams: () => edges.datagrams,
      collect: async (emit) => {
        await instance.tally.find();
        // The program applies the Pod filter by namespace, so it counts all Pods in the node's namespace.
        const isShown = ({ subject }: ShownRow) => !isHostPodId(subject) || running.isShown?.(subject) !== false;
        edges.begin();
        const rows = instance.tally.rows().filter(isShown);
        await edges.take(rows);
        emit.rows(EDGES, rows, reader);
      },
    };
  },
});
