import { defineProbe } from '#probe/contract.ts';
import { defineMetrics } from '#probe/metric.ts';
import { fieldsOf, runMibFields } from '#probe/mib_fields.ts';

// Namespaced: yes. Every struct net has its own tcp_mib (kernel: net/ipv4/proc.c, snmp_seq_show()).

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
    help: 'TCP segments received, bad ones included.',
    mib: ['Tcp', 'InSegs'],
    detail: 'core',
  },
  sentSegments: {
    ...counter,
    name: 'netsonde_tcp_sent_segments_total',
    help: 'TCP segments sent, retransmissions not counted.',
    mib: ['Tcp', 'OutSegs'],
    detail: 'core',
  },
  retransmittedSegments: {
    ...counter,
    name: 'netsonde_tcp_retransmitted_segments_total',
    help: 'TCP segments retransmitted because no acknowledgement came.',
    mib: ['Tcp', 'RetransSegs'],
    detail: 'core',
  },
  receiveErrors: {
    ...counter,
    name: 'netsonde_tcp_receive_errors_total',
    help: 'TCP segments received with an error: a bad checksum or a bad header.',
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
  summary: 'TCP of each Pod: opens, failures, segments, retransmissions, resets. Always worth having.',
  guide: {
    question: 'Are the TCP connections of a Pod established, and does the data that it sends arrive?',
    when: 'Look here first when a client reports errors or timeouts.',
    query:
      'sum by (namespace, pod) (rate(netsonde_tcp_retransmitted_segments_total[5m])) / sum by (namespace, pod) (rate(netsonde_tcp_sent_segments_total[5m])) > 0.01',
    limits: [
      'IPv4 and IPv6 share one number: the kernel counts both together.',
      'A connection attempt that is still in progress is in no counter; it counts as a failed attempt once it is given up.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. With BTF and since 5.19, one walk in the kernel reads all namespaces; otherwise /proc/<pid>/net/snmp.',
  },
  measured: { collect: { ms: 0.71, withoutMs: 23.0, note: 'the first reader pays for the SNMP tables of all' } },
  open: (scope, sources) => runMibFields(scope, sources, fieldsOf(metrics)),
});
