import { defineProbe } from '#probe/contract.ts';
import { defineMetrics } from '#probe/metric.ts';
import { fieldsOf, runMibFields } from '#probe/mib_fields.ts';

// These metrics are per network namespace. Every struct net has its own tcp_mib (kernel: net/ipv4/proc.c,
// snmp_seq_show()).

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

const metrics = defineMetrics({
  activeOpens: {
    ...counter,
    name: 'netsonde_tcp_active_opens_total',
    help: 'TCP connections opened by this side.',
    mib: ['Tcp', 'ActiveOpens'],
    detail: 'core',
  },
  passiveOpens: {
    ...counter,
    name: 'netsonde_tcp_passive_opens_total',
    help: 'TCP connections accepted from the other side.',
    mib: ['Tcp', 'PassiveOpens'],
    detail: 'core',
  },
  attemptFails: {
    ...counter,
    name: 'netsonde_tcp_attempt_fails_total',
    help: 'TCP connections that failed before they were established.',
    mib: ['Tcp', 'AttemptFails'],
    detail: 'core',
  },
  establishedResets: {
    ...counter,
    name: 'netsonde_tcp_established_resets_total',
    help: 'Established TCP connections that ended with a reset by either side.',
    mib: ['Tcp', 'EstabResets'],
    detail: 'core',
  },
  established: {
    type: 'gauge',
    scope: 'pod',
    labels: {},
    name: 'netsonde_tcp_established_connections',
    help: 'TCP connections in state ESTABLISHED or CLOSE_WAIT.',
    mib: ['Tcp', 'CurrEstab'],
    detail: 'full',
  },
  receivedSegments: {
    ...counter,
    name: 'netsonde_tcp_received_segments_total',
    help: 'TCP segments received, including malformed ones.',
    mib: ['Tcp', 'InSegs'],
    detail: 'core',
  },
  sentSegments: {
    ...counter,
    name: 'netsonde_tcp_sent_segments_total',
    help: 'TCP segments sent, excluding retransmissions.',
    mib: ['Tcp', 'OutSegs'],
    detail: 'core',
  },
  retransmittedSegments: {
    ...counter,
    name: 'netsonde_tcp_retransmitted_segments_total',
    help: 'TCP segments retransmitted because they were not acknowledged.',
    mib: ['Tcp', 'RetransSegs'],
    detail: 'core',
  },
  receiveErrors: {
    ...counter,
    name: 'netsonde_tcp_receive_errors_total',
    help: 'TCP segments received with a bad checksum or header.',
    mib: ['Tcp', 'InErrs'],
    detail: 'full',
  },
  sentResets: {
    ...counter,
    name: 'netsonde_tcp_sent_resets_total',
    help: 'TCP segments sent with the RST flag.',
    mib: ['Tcp', 'OutRsts'],
    detail: 'full',
  },
  checksumErrors: {
    ...counter,
    name: 'netsonde_tcp_checksum_errors_total',
    help: 'TCP segments received with a wrong checksum.',
    mib: ['Tcp', 'InCsumErrors'],
    detail: 'full',
  },
});

export const tcp = defineProbe({
  name: 'tcp',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'TCP statistics of each Pod: opened connections, failures, segments, retransmissions and resets. Recommended everywhere.',
  guide: {
    question: 'Does a Pod establish its TCP connections, and does the data that it sends arrive?',
    when: 'Look here first when a client reports errors or timeouts.',
    query:
      'sum by (namespace, pod) (rate(netsonde_tcp_retransmitted_segments_total[5m])) / sum by (namespace, pod) (rate(netsonde_tcp_sent_segments_total[5m])) > 0.01',
    limits: [
      'The kernel counts IPv4 and IPv6 together.',
      'A connection attempt in progress is not counted. If it is abandoned, it is counted as a failed attempt.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. Since 5.19 and with BTF, one walk in the kernel reads all namespaces; otherwise by /proc/<pid>/net/snmp.',
  },
  measured: {
    collect: {
      ms: 0.71,
      withoutMs: 23.0,
      note: 'this probe includes the cost of reading the SNMP tables, which all probes share',
    },
  },
  open: (scope, sources) => runMibFields(scope, sources, fieldsOf(metrics)),
});
