import { defineProbe } from '#probe/contract.ts';
import { defineMetrics } from '#probe/metric.ts';
import { fieldsOf, runMibFields } from '#probe/mib_fields.ts';

// These metrics are per network namespace. Every struct net has a udp_mib for IPv4 and one for IPv6 (kernel:
// net/ipv4/proc.c, net/ipv6/proc.c).

const FAMILY = {
  help: 'IP version of the destination socket.',
  values: ['ipv4', 'ipv6'],
} as const;

const counter = { type: 'counter', scope: 'pod', labels: { family: FAMILY } } as const;

const metrics = defineMetrics({
  received: {
    ...counter,
    name: 'netsonde_udp_received_datagrams_total',
    help: 'UDP datagrams delivered to a socket.',
    mib: ['Udp', 'InDatagrams'],
    mib6: ['Udp6', 'InDatagrams'],
    detail: 'core',
  },
  sent: {
    ...counter,
    name: 'netsonde_udp_sent_datagrams_total',
    help: 'UDP datagrams sent.',
    mib: ['Udp', 'OutDatagrams'],
    mib6: ['Udp6', 'OutDatagrams'],
    detail: 'full',
  },
  noPort: {
    ...counter,
    name: 'netsonde_udp_no_port_total',
    help: 'UDP datagrams received for a port that no socket listens on.',
    mib: ['Udp', 'NoPorts'],
    mib6: ['Udp6', 'NoPorts'],
    detail: 'core',
  },
  receiveErrors: {
    ...counter,
    name: 'netsonde_udp_receive_errors_total',
    help: 'UDP datagrams that could not be delivered for reasons other than a missing socket.',
    mib: ['Udp', 'InErrors'],
    mib6: ['Udp6', 'InErrors'],
    detail: 'full',
  },
  receiveBufferErrors: {
    ...counter,
    name: 'netsonde_udp_receive_buffer_errors_total',
    help: 'UDP datagrams dropped because the receive buffer of the socket was full.',
    mib: ['Udp', 'RcvbufErrors'],
    mib6: ['Udp6', 'RcvbufErrors'],
    detail: 'core',
  },
  sendBufferErrors: {
    ...counter,
    name: 'netsonde_udp_send_buffer_errors_total',
    help: 'UDP datagrams not sent because the send buffer of the socket was full.',
    mib: ['Udp', 'SndbufErrors'],
    mib6: ['Udp6', 'SndbufErrors'],
    detail: 'full',
  },
  checksumErrors: {
    ...counter,
    name: 'netsonde_udp_checksum_errors_total',
    help: 'UDP datagrams received with a wrong checksum.',
    mib: ['Udp', 'InCsumErrors'],
    mib6: ['Udp6', 'InCsumErrors'],
    detail: 'full',
  },
  ignoredMulticast: {
    ...counter,
    name: 'netsonde_udp_ignored_multicast_total',
    help: 'Multicast UDP datagrams ignored because no socket had subscribed to them.',
    mib: ['Udp', 'IgnoredMulti'],
    mib6: ['Udp6', 'IgnoredMulti'],
    detail: 'full',
  },
  memoryErrors: {
    ...counter,
    name: 'netsonde_udp_memory_errors_total',
    help: 'UDP datagrams dropped because the memory limit of UDP was reached.',
    mib: ['Udp', 'MemErrors'],
    mib6: ['Udp6', 'MemErrors'],
    detail: 'full',
  },
  liteReceived: {
    ...counter,
    name: 'netsonde_udplite_received_datagrams_total',
    help: 'UDP-Lite datagrams delivered to a socket; newer kernels have no UDP-Lite.',
    mib: ['UdpLite', 'InDatagrams'],
    mib6: ['UdpLite6', 'InDatagrams'],
    detail: 'full',
  },
  liteSent: {
    ...counter,
    name: 'netsonde_udplite_sent_datagrams_total',
    help: 'UDP-Lite datagrams sent; newer kernels have no UDP-Lite.',
    mib: ['UdpLite', 'OutDatagrams'],
    mib6: ['UdpLite6', 'OutDatagrams'],
    detail: 'full',
  },
  liteReceiveErrors: {
    ...counter,
    name: 'netsonde_udplite_receive_errors_total',
    help: 'UDP-Lite datagrams that could not be delivered; newer kernels have no UDP-Lite.',
    mib: ['UdpLite', 'InErrors'],
    mib6: ['UdpLite6', 'InErrors'],
    detail: 'full',
  },
});

export const udp = defineProbe({
  name: 'udp',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'UDP statistics of each Pod: datagrams, missing listeners and full buffers. Recommended everywhere; look here when DNS times out.',
  guide: {
    question: 'Do datagrams reach the sockets of a Pod?',
    when: 'Look here when DNS or another service over UDP does not respond.',
    query: 'sum by (namespace, pod) (rate(netsonde_udp_receive_buffer_errors_total[5m])) > 0',
    limits: [
      'Datagrams lost before they reach the socket are not counted. `packetloss` counts the ones that the kernel of this node drops.',
      'Newer kernels have no UDP-Lite, so its series are missing there.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. Since 5.19 and with BTF, one walk in the kernel reads all namespaces; otherwise by /proc/<pid>/net/snmp and snmp6.',
  },
  measured: { with: 'tcpext' },
  alerts: [
    {
      name: 'NetsondeUdpBufferFull',
      severity: 'warning',
      metric: 'receiveBufferErrors',
      of: 'rate',
      above: 1,
      for: '10m',
      summary: 'drops {{ $value | humanize }} UDP datagrams per second because they are not read in time.',
      description:
        'If it is a DNS server, its clients see timeouts: give it more CPU or more replicas. Otherwise raise the receive buffer (net.core.rmem_max and the size that the application requests).',
      runbook:
        'Datagrams are dropped because a process does not read them in time. For a DNS server see [DNS times out](#dns-times-out); otherwise raise `net.core.rmem_max` and the buffer that the application requests.',
    },
  ],
  open: (scope, sources) => runMibFields(scope, sources, fieldsOf(metrics)),
});
