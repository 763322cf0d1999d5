import type { Counter } from '#core/counter.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics } from '#probe/metric.ts';
import { fieldsOf, type MibField, runMibFields } from '#probe/mib_fields.ts';

// These metrics are per network namespace. Every struct net has its own ipstats_mib for IPv4 and for IPv6 (kernel:
// net/ipv4/proc.c, net/ipv6/proc.c), and its own settings for forwarding and the default TTL.

const FAMILY = { help: 'IP version.', values: ['ipv4', 'ipv6'] } as const;

const counter = { type: 'counter', scope: 'pod', labels: { family: FAMILY } } as const;

const metrics = defineMetrics({
  received: {
    ...counter,
    name: 'netsonde_ip_received_packets_total',
    help: 'IP packets received, including malformed ones.',
    mib: ['Ip', 'InReceives'],
    mib6: ['Ip6', 'InReceives'],
    detail: 'full',
  },
  delivered: {
    ...counter,
    name: 'netsonde_ip_delivered_packets_total',
    help: 'IP packets delivered to a protocol of this namespace.',
    mib: ['Ip', 'InDelivers'],
    mib6: ['Ip6', 'InDelivers'],
    detail: 'full',
  },
  forwarded: {
    ...counter,
    name: 'netsonde_ip_forwarded_packets_total',
    help: 'IP packets forwarded to another host.',
    mib: ['Ip', 'ForwDatagrams'],
    mib6: ['Ip6', 'OutForwDatagrams'],
    detail: 'full',
  },
  sent: {
    ...counter,
    name: 'netsonde_ip_sent_packets_total',
    help: 'IP packets that local protocols passed to the IP layer for sending.',
    mib: ['Ip', 'OutRequests'],
    mib6: ['Ip6', 'OutRequests'],
    detail: 'full',
  },
  transmitted: {
    ...counter,
    name: 'netsonde_ip_transmitted_packets_total',
    help: 'IP packets passed to a device, including forwarded packets and fragments (since Linux 6.8).',
    mib: ['Ip', 'OutTransmits'],
    mib6: ['Ip6', 'OutTransmits'],
    detail: 'full',
  },
  receiveDiscards: {
    ...counter,
    name: 'netsonde_ip_receive_discards_total',
    help: 'Valid IP packets dropped on receipt, usually because IPv6 is disabled on the device or memory is short.',
    mib: ['Ip', 'InDiscards'],
    mib6: ['Ip6', 'InDiscards'],
    detail: 'full',
  },
  sendDiscards: {
    ...counter,
    name: 'netsonde_ip_send_discards_total',
    help: 'Valid IP packets dropped before they were sent, for example because of a memory shortage.',
    mib: ['Ip', 'OutDiscards'],
    mib6: ['Ip6', 'OutDiscards'],
    detail: 'full',
  },
  receiveHeaderErrors: {
    ...counter,
    name: 'netsonde_ip_receive_header_errors_total',
    help: 'IP packets dropped because of a bad header: wrong version, length or checksum, or an expired TTL.',
    mib: ['Ip', 'InHdrErrors'],
    mib6: ['Ip6', 'InHdrErrors'],
    detail: 'full',
  },
  receiveAddressErrors: {
    ...counter,
    name: 'netsonde_ip_receive_address_errors_total',
    help: 'IP packets dropped because their destination is not an address of this namespace and forwarding is disabled.',
    mib: ['Ip', 'InAddrErrors'],
    mib6: ['Ip6', 'InAddrErrors'],
    detail: 'full',
  },
  receiveNoRoutes: {
    ...counter,
    name: 'netsonde_ip_receive_no_routes_total',
    help: 'Forwarded IP packets dropped because there is no route to their destination.',
    mib: ['IpExt', 'InNoRoutes'],
    mib6: ['Ip6', 'InNoRoutes'],
    detail: 'full',
  },
  sendNoRoutes: {
    ...counter,
    name: 'netsonde_ip_send_no_routes_total',
    help: 'IP packets that could not be sent because there is no route to their destination.',
    mib: ['Ip', 'OutNoRoutes'],
    mib6: ['Ip6', 'OutNoRoutes'],
    detail: 'full',
  },
  unknownProtocols: {
    ...counter,
    name: 'netsonde_ip_receive_unknown_protocols_total',
    help: 'IP packets dropped because no handler exists for their protocol.',
    mib: ['Ip', 'InUnknownProtos'],
    mib6: ['Ip6', 'InUnknownProtos'],
    detail: 'full',
  },
  tooBig: {
    ...counter,
    name: 'netsonde_ip_receive_too_big_errors_total',
    help: 'IPv6 packets that could not be forwarded because they were larger than the MTU of the next link.',
    mib6: ['Ip6', 'InTooBigErrors'],
    detail: 'full',
  },
  truncated: {
    ...counter,
    name: 'netsonde_ip_receive_truncated_packets_total',
    help: 'IP packets dropped because they were shorter than their header says.',
    mib: ['IpExt', 'InTruncatedPkts'],
    mib6: ['Ip6', 'InTruncatedPkts'],
    detail: 'full',
  },
  checksumErrors: {
    ...counter,
    name: 'netsonde_ip_checksum_errors_total',
    help: 'IPv4 packets dropped because of a wrong checksum.',
    mib: ['IpExt', 'InCsumErrors'],
    detail: 'full',
  },
  reassemblyRequired: {
    ...counter,
    name: 'netsonde_ip_reassembly_required_total',
    help: 'IP fragments received.',
    mib: ['Ip', 'ReasmReqds'],
    mib6: ['Ip6', 'ReasmReqds'],
    detail: 'full',
  },
  reassemblySucceeded: {
    ...counter,
    name: 'netsonde_ip_reassembly_succeeded_total',
    help: 'IP packets reassembled from fragments.',
    mib: ['Ip', 'ReasmOKs'],
    mib6: ['Ip6', 'ReasmOKs'],
    detail: 'full',
  },
  reassemblyFailures: {
    ...counter,
    name: 'netsonde_ip_reassembly_failures_total',
    help: 'Failed reassemblies because a fragment was missing or memory ran out.',
    mib: ['Ip', 'ReasmFails'],
    mib6: ['Ip6', 'ReasmFails'],
    detail: 'full',
  },
  reassemblyTimeouts: {
    ...counter,
    name: 'netsonde_ip_reassembly_timeouts_total',
    help: 'IP packets discarded because a fragment did not arrive in time.',
    mib: ['Ip', 'ReasmTimeout'],
    mib6: ['Ip6', 'ReasmTimeout'],
    detail: 'full',
  },
  reassemblyOverlaps: {
    ...counter,
    name: 'netsonde_ip_reassembly_overlaps_total',
    help: 'IPv4 fragments that overlap others, which usually indicates an attack.',
    mib: ['IpExt', 'ReasmOverlaps'],
    detail: 'full',
  },
  fragmented: {
    ...counter,
    name: 'netsonde_ip_fragmented_packets_total',
    help: 'IP packets split into fragments.',
    mib: ['Ip', 'FragOKs'],
    mib6: ['Ip6', 'FragOKs'],
    detail: 'full',
  },
  fragmentationFailures: {
    ...counter,
    name: 'netsonde_ip_fragmentation_failures_total',
    help: 'IP packets dropped because they were too large for the link and must not be fragmented, which indicates a path MTU problem.',
    mib: ['Ip', 'FragFails'],
    mib6: ['Ip6', 'FragFails'],
    detail: 'core',
  },
  fragmentsCreated: {
    ...counter,
    name: 'netsonde_ip_fragments_generated_total',
    help: 'IP fragments created.',
    mib: ['Ip', 'FragCreates'],
    mib6: ['Ip6', 'FragCreates'],
    detail: 'full',
  },
  receivedBytes: {
    ...counter,
    name: 'netsonde_ip_received_bytes_total',
    unit: 'bytes',
    help: 'Bytes of IP packets received, including headers.',
    mib: ['IpExt', 'InOctets'],
    mib6: ['Ip6', 'InOctets'],
    detail: 'full',
  },
  sentBytes: {
    ...counter,
    name: 'netsonde_ip_sent_bytes_total',
    unit: 'bytes',
    help: 'Bytes of IP packets sent, including headers.',
    mib: ['IpExt', 'OutOctets'],
    mib6: ['Ip6', 'OutOctets'],
    detail: 'full',
  },
  receivedMulticast: {
    ...counter,
    name: 'netsonde_ip_received_multicast_packets_total',
    help: 'IP packets received for a multicast address.',
    mib: ['IpExt', 'InMcastPkts'],
    mib6: ['Ip6', 'InMcastPkts'],
    detail: 'full',
  },
  sentMulticast: {
    ...counter,
    name: 'netsonde_ip_sent_multicast_packets_total',
    help: 'IP packets sent to a multicast address.',
    mib: ['IpExt', 'OutMcastPkts'],
    mib6: ['Ip6', 'OutMcastPkts'],
    detail: 'full',
  },
  receivedBroadcast: {
    ...counter,
    name: 'netsonde_ip_received_broadcast_packets_total',
    help: 'IPv4 packets received for a broadcast address.',
    mib: ['IpExt', 'InBcastPkts'],
    detail: 'full',
  },
  sentBroadcast: {
    ...counter,
    name: 'netsonde_ip_sent_broadcast_packets_total',
    help: 'IPv4 packets sent to a broadcast address.',
    mib: ['IpExt', 'OutBcastPkts'],
    detail: 'full',
  },
  ecn: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_ip_received_ecn_packets_total',
    help: 'IP packets received, by ECN field; `ce` marks congestion on the path.',
    source: 'net/netstat IpExt.InNoECTPkts, InECT0Pkts, InECT1Pkts, InCEPkts; net/snmp6 Ip6In…',
    detail: 'full',
    labels: {
      family: FAMILY,
      codepoint: { help: 'Codepoint of the ECN field (RFC 3168).', values: ['not_ect', 'ect0', 'ect1', 'ce'] },
    },
  },
  forwarding: {
    type: 'gauge',
    scope: 'pod',
    labels: {},
    name: 'netsonde_ip_forwarding_enabled',
    help: '1 if IPv4 packets for other hosts are forwarded, 0 if they are dropped (net.ipv4.ip_forward).',
    mib: ['Ip', 'Forwarding'],
    detail: 'full',
  },
  defaultTtl: {
    type: 'gauge',
    scope: 'pod',
    labels: {},
    name: 'netsonde_ip_default_ttl',
    help: 'Default TTL of IPv4 packets sent (net.ipv4.ip_default_ttl).',
    mib: ['Ip', 'DefaultTTL'],
    detail: 'full',
  },
});

const CODEPOINTS = { not_ect: 'InNoECTPkts', ect0: 'InECT0Pkts', ect1: 'InECT1Pkts', ce: 'InCEPkts' } as const;

/** Converts the setting for forwarding. As defined by SNMP, the kernel reports 1 for enabled and 2 for disabled. */
const isOn = (value: Counter) => (value === 1 ? 1 : 0);

const FIELDS: readonly MibField[] = [
  ...fieldsOf(metrics).map((field) => (field.metric === 'forwarding' ? { ...field, convert: isOn } : field)),
  ...Object.entries(CODEPOINTS).flatMap(([codepoint, field]) => [
    { metric: 'ecn', table: 'IpExt', field, labels: { family: 'ipv4', codepoint } } as const,
    { metric: 'ecn', table: 'Ip6', field, labels: { family: 'ipv6', codepoint } } as const,
  ]),
];

export const ip = defineProbe({
  name: 'ip',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'IP statistics of each Pod: packets, discards, missing routes, fragments and ECN marks. Recommended everywhere; look here for MTU and routing problems.',
  guide: {
    question: 'Does the IP layer of a Pod lose packets because of missing routes, the MTU or missing fragments?',
    when: 'Look here when large packets do not arrive or a destination has no route. Most counters need `detail: full`.',
    query: 'sum by (namespace, pod) (rate(netsonde_ip_fragmentation_failures_total[5m])) > 0',
    limits: ['Only discards by the IP layer are counted. `packetloss` also counts packets that netfilter drops.'],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. Since 5.19 and with BTF, one walk in the kernel reads all namespaces; otherwise by /proc/<pid>/net/snmp, netstat and snmp6.',
  },
  measured: { with: 'tcpext' },
  open: (scope, sources) => runMibFields(scope, sources, FIELDS),
});
