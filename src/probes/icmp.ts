import { defineProbe } from '#probe/contract.ts';
import { defineMetrics } from '#probe/metric.ts';
import { fieldsOf, type MibField, runMibFields } from '#probe/mib_fields.ts';

// These metrics are per network namespace. Every struct net has its own ICMP statistics, including messages by type
// (kernel: net/ipv4/proc.c, icmp_put(); net/ipv6/proc.c, snmp6_seq_show_icmpv6msg()).

const FAMILY = { help: 'IP version: ipv4 for ICMP, ipv6 for ICMPv6.', values: ['ipv4', 'ipv6'] } as const;

const counter = { type: 'counter', scope: 'pod', labels: { family: FAMILY } } as const;

const metrics = defineMetrics({
  received: {
    ...counter,
    name: 'netsonde_icmp_received_messages_total',
    help: 'ICMP messages received, including malformed ones.',
    mib: ['Icmp', 'InMsgs'],
    mib6: ['Icmp6', 'InMsgs'],
    detail: 'full',
  },
  sent: {
    ...counter,
    name: 'netsonde_icmp_sent_messages_total',
    help: 'ICMP messages sent.',
    mib: ['Icmp', 'OutMsgs'],
    mib6: ['Icmp6', 'OutMsgs'],
    detail: 'full',
  },
  receiveErrors: {
    ...counter,
    name: 'netsonde_icmp_receive_errors_total',
    help: 'ICMP messages received that could not be processed because of a bad checksum or length or a missing socket.',
    mib: ['Icmp', 'InErrors'],
    mib6: ['Icmp6', 'InErrors'],
    detail: 'full',
  },
  sendErrors: {
    ...counter,
    name: 'netsonde_icmp_send_errors_total',
    help: 'ICMP messages that could not be sent.',
    mib: ['Icmp', 'OutErrors'],
    mib6: ['Icmp6', 'OutErrors'],
    detail: 'full',
  },
  checksumErrors: {
    ...counter,
    name: 'netsonde_icmp_checksum_errors_total',
    help: 'ICMP messages dropped because of a wrong checksum.',
    mib: ['Icmp', 'InCsumErrors'],
    mib6: ['Icmp6', 'InCsumErrors'],
    detail: 'full',
  },
  rateLimitedGlobal: {
    ...counter,
    name: 'netsonde_icmp_rate_limited_global_total',
    help: 'ICMP errors not sent because the namespace had sent too many (net.ipv4.icmp_msgs_per_sec).',
    mib: ['Icmp', 'OutRateLimitGlobal'],
    detail: 'full',
  },
  rateLimitedHost: {
    ...counter,
    name: 'netsonde_icmp_rate_limited_host_total',
    help: 'ICMP errors not sent because the same host had received too many (net.ipv4.icmp_ratelimit, net.ipv6.icmp.ratelimit).',
    mib: ['Icmp', 'OutRateLimitHost'],
    mib6: ['Icmp6', 'OutRateLimitHost'],
    detail: 'full',
  },
  receivedDestinationUnreachable: {
    ...counter,
    name: 'netsonde_icmp_received_destination_unreachable_total',
    help: 'ICMP messages received that report an unreachable destination.',
    mib: ['Icmp', 'InDestUnreachs'],
    mib6: ['Icmp6', 'InDestUnreachs'],
    detail: 'core',
  },
  sentDestinationUnreachable: {
    ...counter,
    name: 'netsonde_icmp_sent_destination_unreachable_total',
    help: 'ICMP messages sent that report an unreachable destination.',
    mib: ['Icmp', 'OutDestUnreachs'],
    mib6: ['Icmp6', 'OutDestUnreachs'],
    detail: 'full',
  },
  receivedTimeExceeded: {
    ...counter,
    name: 'netsonde_icmp_received_time_exceeded_total',
    help: 'ICMP messages received that report an expired TTL or fragments that did not arrive in time.',
    mib: ['Icmp', 'InTimeExcds'],
    mib6: ['Icmp6', 'InTimeExcds'],
    detail: 'full',
  },
  sentTimeExceeded: {
    ...counter,
    name: 'netsonde_icmp_sent_time_exceeded_total',
    help: 'ICMP messages sent that report an expired TTL or fragments that did not arrive in time.',
    mib: ['Icmp', 'OutTimeExcds'],
    mib6: ['Icmp6', 'OutTimeExcds'],
    detail: 'full',
  },
  receivedRedirects: {
    ...counter,
    name: 'netsonde_icmp_received_redirects_total',
    help: 'ICMP redirects received, which name a better router.',
    mib: ['Icmp', 'InRedirects'],
    mib6: ['Icmp6', 'InRedirects'],
    detail: 'full',
  },
  sentRedirects: {
    ...counter,
    name: 'netsonde_icmp_sent_redirects_total',
    help: 'ICMP redirects sent, which name a better router.',
    mib: ['Icmp', 'OutRedirects'],
    mib6: ['Icmp6', 'OutRedirects'],
    detail: 'full',
  },
  receivedParameterProblems: {
    ...counter,
    name: 'netsonde_icmp_received_parameter_problems_total',
    help: 'ICMP messages received that report an invalid header.',
    mib: ['Icmp', 'InParmProbs'],
    mib6: ['Icmp6', 'InParmProblems'],
    detail: 'full',
  },
  sentParameterProblems: {
    ...counter,
    name: 'netsonde_icmp_sent_parameter_problems_total',
    help: 'ICMP messages sent that report an invalid header.',
    mib: ['Icmp', 'OutParmProbs'],
    mib6: ['Icmp6', 'OutParmProblems'],
    detail: 'full',
  },
  receivedEchoRequests: {
    ...counter,
    name: 'netsonde_icmp_received_echo_requests_total',
    help: 'ICMP echo requests received.',
    mib: ['Icmp', 'InEchos'],
    mib6: ['Icmp6', 'InEchos'],
    detail: 'full',
  },
  sentEchoRequests: {
    ...counter,
    name: 'netsonde_icmp_sent_echo_requests_total',
    help: 'ICMP echo requests sent.',
    mib: ['Icmp', 'OutEchos'],
    mib6: ['Icmp6', 'OutEchos'],
    detail: 'full',
  },
  receivedEchoReplies: {
    ...counter,
    name: 'netsonde_icmp_received_echo_replies_total',
    help: 'ICMP echo replies received.',
    mib: ['Icmp', 'InEchoReps'],
    mib6: ['Icmp6', 'InEchoReplies'],
    detail: 'full',
  },
  sentEchoReplies: {
    ...counter,
    name: 'netsonde_icmp_sent_echo_replies_total',
    help: 'ICMP echo replies sent.',
    mib: ['Icmp', 'OutEchoReps'],
    mib6: ['Icmp6', 'OutEchoReplies'],
    detail: 'full',
  },
  receivedPacketTooBig: {
    ...counter,
    name: 'netsonde_icmp_received_packet_too_big_total',
    help: 'ICMPv6 messages received that report a packet larger than the MTU of a link on its path.',
    mib6: ['Icmp6', 'InPktTooBigs'],
    detail: 'full',
  },
  receivedNeighborSolicitations: {
    ...counter,
    name: 'netsonde_icmp_received_neighbor_solicitations_total',
    help: 'Neighbour solicitations received: ICMPv6 messages that ask for the link address of a neighbour.',
    mib6: ['Icmp6', 'InNeighborSolicits'],
    detail: 'full',
  },
  receivedNeighborAdvertisements: {
    ...counter,
    name: 'netsonde_icmp_received_neighbor_advertisements_total',
    help: 'Neighbour advertisements received: ICMPv6 messages that give the link address of a neighbour.',
    mib6: ['Icmp6', 'InNeighborAdvertisements'],
    detail: 'full',
  },
  sentPacketTooBig: {
    ...counter,
    name: 'netsonde_icmp_sent_packet_too_big_total',
    help: 'ICMPv6 messages sent that report a packet larger than the MTU of a link on its path.',
    mib6: ['Icmp6', 'OutPktTooBigs'],
    detail: 'full',
  },
  sentNeighborSolicitations: {
    ...counter,
    name: 'netsonde_icmp_sent_neighbor_solicitations_total',
    help: 'Neighbour solicitations sent: ICMPv6 messages that ask for the link address of a neighbour.',
    mib6: ['Icmp6', 'OutNeighborSolicits'],
    detail: 'full',
  },
  sentNeighborAdvertisements: {
    ...counter,
    name: 'netsonde_icmp_sent_neighbor_advertisements_total',
    help: 'Neighbour advertisements sent: ICMPv6 messages that give the link address of a neighbour.',
    mib6: ['Icmp6', 'OutNeighborAdvertisements'],
    detail: 'full',
  },
});

const FIELDS: readonly MibField[] = fieldsOf(metrics);

export const icmp = defineProbe({
  name: 'icmp',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'ICMP messages of each Pod, with unreachable destinations and rate limits. Recommended everywhere; look here for firewall and routing problems.',
  guide: {
    question: 'Does a Pod get reports that a destination is unreachable, or that its packets are too large?',
    when: 'Look here when connections fail immediately instead of timing out.',
    query: 'sum by (namespace, pod) (rate(netsonde_icmp_received_destination_unreachable_total[5m])) > 0',
    limits: [
      'The counters do not tell which packets the messages refer to.',
      'A firewall that drops packets silently causes no ICMP message.',
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
  open: (scope, sources) => runMibFields(scope, sources, FIELDS),
});
