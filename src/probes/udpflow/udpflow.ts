import { FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/udpflow.ts';
import { milliseconds } from '#core/duration.ts';
import { defineProbe } from '#probe/contract.ts';
import { openTally } from '#probe/ebpf.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics, type JointBound, NO_LABELS, type RowReader } from '#probe/metric.ts';
import { LEAVE, ROWS, type ShownRow, UDP_ROWS, UdpRows } from './udp_rows.ts';

// These metrics are per network namespace. A datagram belongs to the namespace of its socket. UDP sockets keep no
// counters, so the programs must see each packet. The kernel runs the programs of the root cgroup for each packet of
// each socket, once per direction. With GSO and GRO, one packet holds several datagrams. A datagram is fragmented after
// the sender's programs have run, and reassembled before the receiver's programs run.

/** Number of rows that owners share: 96 rows for each owner. */
const ROWS_MAX = 131_072;

const EDGES: JointBound = { max: { core: 16, full: 64 }, rank: ['sentBytes', 'receivedBytes'] };

const edge = {
  type: 'counter',
  scope: 'pod',
  detail: 'core',
  labels: {
    role: {
      help: 'client: the local port is in `net.ipv4.ip_local_port_range` of the namespace; server: it is not.',
      example: 'client',
      joint: EDGES,
    },
    peer: { help: 'Address of the other end.', example: '10.96.0.10', joint: EDGES },
    port: {
      help: 'Port of the server: the remote port of a client, the local port of a server.',
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
    help: 'Payload of the datagrams that UDP sockets sent, without IP and UDP headers.',
    source: 'cgroup_skb/egress, map udp_rows',
  },
  receivedBytes: {
    ...edge,
    name: 'netsonde_udp_flow_received_bytes_total',
    unit: 'bytes',
    help: 'Payload of the datagrams that reached UDP sockets, without IP and UDP headers.',
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
    help: 'Datagrams that reached UDP sockets, including those that found the receive buffer full.',
    source: 'cgroup_skb/ingress, map udp_rows',
  },
});

/** The second choice is for kernels before 6.2. It reads the kernel's memory with a helper. */
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

function readerOf(rows: UdpRows): RowReader<typeof metrics, ShownRow> {
  return {
    subject: ({ subject }) => subject,
    key: ({ id }) => id,
    labels: ({ labels }) => labels,
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
    'UDP datagrams and payload of each Pod, by peer and port: shows with whom a Pod exchanges datagrams, and how many. Every packet of the node pays for it.',
  guide: {
    question: 'With whom does a Pod exchange UDP datagrams, and how much?',
    when: 'Switch it on to find the peer behind UDP traffic: DNS, QUIC, syslog, media, StatsD. Leave it off where packet rates are high and nobody asks for UDP.',
    query: 'topk(10, sum by (namespace, pod, role, peer, port) (rate(netsonde_udp_flow_sent_bytes_total[5m])))',
    limits: [
      'Every packet that a socket of the node sends or receives pays, TCP included: the kernel calls a program for each, once for each direction. Calling an empty program took 80 ns on a busy machine (30 to 40 ns on an idle one), which is all that TCP pays. A datagram took up to 160 ns more.',
      'Bytes are payload: what programs hand to `send()` and get from `recv()`. IP and UDP headers, IP fragments and retransmissions below UDP are not in them.',
      'A datagram counts once, whatever its way: before it is fragmented, and after its fragments are joined. Each segment of a buffer that was sent with `UDP_SEGMENT` or received with `UDP_GRO` is a datagram.',
      'UDP has no connections, so the local port decides about the role. A port in `net.ipv4.ip_local_port_range` of the namespace makes the end a client, and any other port a server. A server that is bound to a port in that range is therefore shown as a client.',
      'A received datagram counts when it reaches the socket, even if the receive buffer is full and the kernel drops it: `netsonde_udp_receive_buffer_errors_total` counts those. A datagram for several sockets, such as multicast, counts once for each socket.',
      'Sent datagrams that a firewall drops before they leave the namespace do not count, while those that a queue or the path drops do.',
      'The addresses are those of the packet at the socket. Where the rules of the namespace itself translate addresses, as kube-proxy does on the node, a client sends to the backend and receives from the Service.',
      'UDP-Lite, raw sockets, `AF_PACKET` and tunnels of the kernel (VXLAN, WireGuard) do not count.',
      'An owner has 96 rows in the kernel (12 before Linux 6.1). Further edges are added up in the row `*`, whose sum is exact. A row that counts nothing for `idle` makes room for another edge.',
    ],
  },
  metrics,
  events: {},
  options: {
    idle: milliseconds('1m', '1s', '1h').describe(
      'Time without a datagram after which an edge gives its row in the kernel to another one. Its counts stay on the page.',
    ),
  },
  hooks,
  maps: { [ROWS]: 'rows', udp_rest: 'fixed' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'],
    kernel:
      'BTF (5.8), and cgroups of version 2, whose root has no program that allows no other (attached without BPF_F_ALLOW_MULTI).',
  },
  measured: {
    programs: {
      ns: { 'cgroup_skb/egress': '0-160', 'cgroup_skb/ingress': '0-150' },
      note: 'the lower figure for TCP, the upper one for a datagram, beside other work, where an empty program took 80 ns; 570 ns for a datagram that finds no row',
    },
  },
  panels: [
    {
      on: 'pod',
      title: 'UDP sent, by peer',
      lines: [{ metric: 'sentBytes', show: 'rate', by: ['role', 'peer', 'port'] }],
      what: 'Payload of the datagrams that the Pod sends, for each peer and port of a server. `*` adds up all others.',
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
    const instance = await openTally<Layout, UdpRows>(
      scope,
      sources,
      settings,
      { hooks, room: { map: ROWS, rows: ROWS_MAX, preallocated: MAX_ENTRIES.udp_rows, rests: 0 } },
      (object) => new UdpRows(object, scope.owners, scope.retained(UDP_ROWS), { idleMs: idle }),
    );
    const reader = readerOf(instance.tally);
    return {
      ...instance.running(),
      collect: async (emit) => emit.rows(EDGES, instance.tally.rows(), reader),
    };
  },
});
