import type { EventRecord } from '#api/events.ts';
import { INCIDENT_CAUSES, type IncidentCause } from '#api/words.ts';

const FIREWALL =
  /^(NETFILTER_DROP|TC_INGRESS|TC_EGRESS|XDP|BPF_CGROUP_EGRESS|SOCKET_FILTER|OVS_DROP_EXPLICIT|OVS_DROP_LAST_ACTION)/;
/** Functions in which firewalls drop packets without a reason. */
const FIREWALL_PLACES = /^(nf_queue|nfqnl_reinject|veth_xdp_rcv_skb|do_xdp_generic)\b/;
const ROUTE = /^(IP_INNOROUTES|IP_OUTNOROUTES|IP_RPFILTER|NEIGH_)/;
/** Functions in which a route rejects packets without a reason. */
const ROUTE_PLACES = /^(ip_error|ip6_pkt_drop|dst_discard|dst_discard_out|neigh_invalidate|ndisc_error_report)\b/;
const QUEUES = /^(SOCKET_RCVBUFF|SOCKET_BACKLOG|PROTO_MEM|QDISC_|CPU_BACKLOG|FULL_RING|NOMEM|TCP_ZEROWINDOW|FQ_|CAKE_)/;
const COOKIE_CHECK = /^cookie_v[46]_check\b/;
/** Function in which the kernel drops packets whose connection it cannot track, and rules of iptables-legacy. */
const HOOK = /^nf_hook_slow\b/;

const CONNECT_CAUSES: Readonly<Record<string, IncidentCause>> = {
  refused: 'refused',
  unreachable: 'unreachable',
  no_port: 'no_port',
};

const RANKS: ReadonlyMap<IncidentCause, number> = new Map(INCIDENT_CAUSES.map((cause, rank) => [cause, rank]));

/** Returns the rank of a cause. The lower rank explains the events of the higher one. */
export function rankOf(cause: IncidentCause): number {
  return RANKS.get(cause) ?? INCIDENT_CAUSES.length;
}

/**
 * Returns the cause of an event by itself; undefined if the event is not about a connection that is in trouble. An
 * event with the severity info has none, because nothing was lost.
 */
export function causeOf(event: EventRecord): IncidentCause | undefined {
  if (event.severity === 'info') return undefined;
  switch (event.type) {
    case 'packet_drop':
      return causeOfDrop(event);
    case 'tcp_reset':
      return causeOfReset(event);
    case 'tcp_retransmit':
      if (event['waitsFor'] === 'accept_queue') return 'accept_queue';
      return event['kind'] === 'syn' || event['kind'] === 'synack' ? 'no_answer' : 'loss';
    case 'connection_failed':
      return CONNECT_CAUSES[String(event['cause'])] ?? 'no_answer';
    case 'connection_timed_out':
      return 'no_answer';
    case 'connection_degraded':
      return 'loss';
    default:
      return undefined;
  }
}

function causeOfDrop(event: EventRecord): IncidentCause {
  const reason = String(event['reason']);
  const symbol = String(event['symbol'] ?? '');
  // A lost ICMP error does not stop the connection that it is about.
  if (event['connectionProtocol'] !== undefined) return 'other_drop';
  if (reason === 'TCP_LISTEN_OVERFLOW' || (reason === 'NO_SOCKET' && COOKIE_CHECK.test(symbol))) return 'accept_queue';
  if (FIREWALL.test(reason) || FIREWALL_PLACES.test(symbol)) return 'firewall';
  if (reason === 'PKT_TOO_BIG') return 'mtu';
  if (ROUTE.test(reason) || (reason === 'NOT_SPECIFIED' && ROUTE_PLACES.test(symbol))) return 'route';
  if (QUEUES.test(reason)) return 'full_queue';
  return reason === 'NO_SOCKET' ? 'refused' : 'other_drop';
}

function causeOfReset(event: EventRecord): IncidentCause {
  const reason = String(event['reason']);
  if (reason === 'queue_full') return 'accept_queue';
  // Data belongs to a connection that was established before.
  if (Number(event['refusedBytes'] ?? 0) > 0) return 'reset';
  return reason === 'NO_SOCKET' || reason === 'no_listener' || reason === 'refused' ? 'refused' : 'reset';
}

/** Whether connection tracking may have dropped the packet, because it has no room for its connection. */
export function mayLackTracking(event: EventRecord): boolean {
  return (
    event.type === 'packet_drop' &&
    event['reason'] === 'NETFILTER_DROP' &&
    event['sentBy'] === undefined &&
    HOOK.test(String(event['symbol'] ?? ''))
  );
}

/** Whether the event shows that the client's SYN has reached the server. */
export function showsEstablished(event: EventRecord): boolean {
  return event.type === 'tcp_retransmit' && event['kind'] !== 'syn';
}

/** Explanations of the causes, for a sentence that begins with the connections. */
const TEXTS: Readonly<Record<IncidentCause, string>> = {
  accept_queue: 'the accept queue of the server is full, because it accepts too slowly',
  conntrack_full: 'the table of connection tracking is full',
  firewall: 'a firewall or network policy drops the packets',
  mtu: 'packets are larger than the MTU of a link',
  route: 'there is no route, or the next hop does not answer',
  full_queue: 'a buffer or queue is full',
  other_drop: 'the kernel drops packets',
  refused: 'nothing listens on the port',
  reset: 'one end resets the connection',
  unreachable: 'a router rejects the packets, or the next hop does not answer',
  no_port: 'no local port is free',
  no_answer: 'there is no answer, and no drop was seen on this node',
  loss: 'segments are lost, and no drop was seen on this node',
};

/**
 * Returns the explanation of a cause, for a sentence that begins with the connections.
 * @param lacksAnswers whether all that the events show is that answers are missing
 */
export function textOf(cause: IncidentCause, lacksAnswers: boolean): string {
  return cause === 'route' && lacksAnswers ? 'the server has no route back to the client' : TEXTS[cause];
}
