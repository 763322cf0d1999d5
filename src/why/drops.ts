import { addressOf, portOf } from '#core/address.ts';
import { isOfNextHop } from './belongs.ts';
import type { Cause, Evidence, WitnessEvent } from './evidence.ts';

const FIREWALL = /^(NETFILTER_DROP|TC_INGRESS|TC_EGRESS|XDP|BPF_CGROUP_EGRESS|SOCKET_FILTER|OVS_DROP_EXPLICIT)/;
/** Functions in which firewalls drop packets without a reason. */
const FIREWALL_PLACES = /^(nf_queue|nfqnl_reinject|veth_xdp_rcv_skb|do_xdp_generic)\b/;
/** Function in which the kernel drops packets that it cannot track, as well as those that iptables-legacy rejects. */
const HOOK = /^nf_hook_slow\b/;
const REJECTING_ROUTE = /^(ip_error|ip6_pkt_drop|ip6_pkt_discard|ip6_pkt_prohibit|dst_discard|dst_discard_out)\b/;
const NEIGHBOUR_PLACES = /^(neigh_invalidate|ndisc_error_report|arp_error_report)\b/;
const TOO_BIG_PLACES = /^(__dev_forward_skb2|ip_forward|ip_fragment|ip6_forward|ip6_fragment)\b/;
const FORWARDING = /^ip6?_forward\b/;
/** MTU that every link has (RFC 791). */
const MTU_MIN = 576;
const QUEUES = /^(SOCKET_RCVBUFF|SOCKET_BACKLOG|PROTO_MEM|QDISC_|CPU_BACKLOG|FULL_RING|NOMEM|TCP_ZEROWINDOW|FQ_|CAKE_)/;
const COOKIE_CHECK = /^cookie_v[46]_check\b/;

/** Cause of a drop. Causes are tried in the order of this list, because the first ones explain the later ones. */
const KINDS: readonly {
  readonly cause: Cause;
  readonly matches: (reason: string, symbol: string, length: number) => boolean;
  readonly text: string;
}[] = [
  {
    cause: 'accept_queue',
    matches: (reason, symbol) =>
      reason === 'TCP_LISTEN_OVERFLOW' || (reason === 'NO_SOCKET' && COOKIE_CHECK.test(symbol)),
    text: 'the accept queue of the server is full',
  },
  {
    cause: 'mtu',
    // Before Linux 6.3, these functions also drop packets whose TTL has run out without a reason.
    matches: (reason, symbol, length) =>
      reason === 'PKT_TOO_BIG' || (reason === 'NOT_SPECIFIED' && TOO_BIG_PLACES.test(symbol) && length > MTU_MIN),
    text: 'packets are larger than the MTU of the next link',
  },
  {
    cause: 'firewall',
    matches: (reason, symbol) => FIREWALL.test(reason) || FIREWALL_PLACES.test(symbol),
    text: 'a firewall drops the packets',
  },
  {
    cause: 'rp_filter',
    matches: (reason) => reason === 'IP_RPFILTER',
    text: 'the way back leads through another device (rp_filter)',
  },
  {
    cause: 'route_rejects',
    matches: (reason, symbol) => reason === 'NOT_SPECIFIED' && REJECTING_ROUTE.test(symbol),
    text: 'a route rejects the packets (blackhole, prohibit or unreachable)',
  },
  {
    cause: 'no_route',
    matches: (reason) => /^IP6?_(IN|OUT)NOROUTES$/.test(reason),
    text: 'there is no route',
  },
  {
    cause: 'no_neighbour',
    matches: (reason, symbol) => reason.startsWith('NEIGH_') || NEIGHBOUR_PLACES.test(symbol),
    text: 'the next hop does not answer to ARP or neighbour discovery',
  },
  {
    cause: 'ttl',
    matches: (reason, symbol) => reason === 'IP_TTL' || (reason === 'IP_INHDR' && FORWARDING.test(symbol)),
    text: 'the TTL has run out',
  },
  { cause: 'full_queue', matches: (reason) => QUEUES.test(reason), text: 'a queue or buffer is full' },
  { cause: 'refused', matches: (reason) => reason === 'NO_SOCKET', text: 'nothing listens on the port' },
];

/** Drops of one kind. */
export interface Drops {
  readonly cause: Cause;
  readonly text: string;
  readonly events: readonly WitnessEvent[];
  /** Whether the reason leaves no other cause. */
  readonly isCertain: boolean;
}

function kindOf(event: WitnessEvent): { readonly cause: Cause; readonly text: string } {
  const reason = String(event['reason']);
  const symbol = String(event['symbol'] ?? '');
  const kind = KINDS.find(({ matches }) => matches(reason, symbol, Number(event['length'])));
  return kind ?? { cause: 'dropped', text: 'the kernel drops the packets' };
}

function rankOf(cause: Cause): number {
  const rank = KINDS.findIndex((kind) => kind.cause === cause);
  return rank < 0 ? KINDS.length : rank;
}

/** Whether the dropped packet is an ICMP error about the connection, the loss of which does not stop the connection. */
export function isError(event: WitnessEvent, { trial }: Evidence): boolean {
  if (event['connectionProtocol'] !== undefined) return true;
  return trial.protocol !== 'icmp' && /^(icmp|icmpv6)$/.test(event.protocol ?? '');
}

/** Whether the dropped packet belongs to a question to a DNS server. */
export function isOfName({ src, dst, protocol }: WitnessEvent, { trial }: Evidence): boolean {
  const servers = new Set(trial.names.map(({ server }) => server));
  if (trial.local !== undefined && [src, dst].includes(trial.local)) return false;
  return (
    (protocol === 'udp' || protocol === 'tcp') &&
    [src, dst].some((end) => end !== undefined && portOf(end) === 53 && servers.has(addressOf(end)))
  );
}

/** Returns the drops among these events that explain most, with their cause; undefined if there is none. */
export function worstDrops(events: readonly WitnessEvent[], evidence: Evidence): Drops | undefined {
  const lost = events.filter(({ type, severity }) => type === 'packet_drop' && severity !== 'info');
  const causes = [...new Set(lost.map((event) => kindOf(event).cause))].sort((a, b) => rankOf(a) - rankOf(b));
  const [cause] = causes;
  if (cause === undefined) return undefined;
  const all = lost.filter((event) => kindOf(event).cause === cause);
  // Two agents on one machine report the same packet. Only one of them knows the namespace.
  const owned = all.filter(({ pod }) => pod !== null);
  const ofCause = owned.length > 0 ? owned : all;
  const { text } = kindOf(ofCause[0] as WitnessEvent);
  if (cause === 'no_neighbour') return ofNextHop(lost) ?? { cause, text, events: ofCause, isCertain: true };
  return cause === 'firewall'
    ? firewallOrTracking(ofCause, text, evidence)
    : { cause, text, events: ofCause, isCertain: true };
}

/** A next hop cannot answer requests for its address that are dropped before they leave. */
function ofNextHop(lost: readonly WitnessEvent[]): Drops | undefined {
  const requests = lost.filter((event) => isOfNextHop(event, lost));
  const [first] = requests;
  if (first === undefined) return undefined;
  const { cause, text } = kindOf(first);
  return {
    cause,
    text: `the address of the next hop is not known, because requests for it are dropped: ${text}`,
    events: requests,
    isCertain: false,
  };
}

/** The kernel gives the same reason for a rule of iptables-legacy and for a full table of connection tracking. */
function firewallOrTracking(events: readonly WitnessEvent[], text: string, { growth }: Evidence): Drops {
  const isAmbiguous = (event: WitnessEvent) =>
    event['sentBy'] === undefined && HOOK.test(String(event['symbol'] ?? '')) && event['reason'] === 'NETFILTER_DROP';
  const certain = events.filter((event) => !isAmbiguous(event));
  if (certain.length > 0) return { cause: 'firewall', text, events: certain, isCertain: true };
  const place = placeOf(events[0] as WitnessEvent);
  const there = growth.find((one) => one.place === place);
  const failed = (there?.grown['Conntrack.drop'] ?? 0) + (there?.grown['Conntrack.insert_failed'] ?? 0);
  if (failed > 0) {
    const full = `connections cannot be tracked there, because the table is full (drop +${failed})`;
    return { cause: 'conntrack_full', text: full, events, isCertain: failed >= countOf(events) };
  }
  return { cause: 'firewall', text, events, isCertain: there?.hasConntrack === true };
}

/** Maximum number of packets of the trial that these events stand for. */
export function countOf(events: readonly WitnessEvent[]): number {
  return events.reduce((sum, { count = 1 }) => sum + count, 0);
}

/** Whether a rule of nftables or iptables has dropped the packet, which a trace can name. */
export function isTraceable({ type, reason }: WitnessEvent): boolean {
  return type === 'packet_drop' && reason === 'NETFILTER_DROP';
}

/** Minimum number of packets of the trial that these events stand for. */
export function leastOf(events: readonly WitnessEvent[]): number {
  return events.reduce((sum, { count = 1, least = count }) => sum + least, 0);
}

/** Returns the number of events as text; `at least` some if an agent has folded them with others. */
export function countText(events: readonly WitnessEvent[]): string {
  const least = leastOf(events);
  return least < countOf(events) ? `at least ${least}` : String(least);
}

/** Returns the name of the Pod, namespace or node that reported an event. */
export function placeOf({ namespace, pod, node }: WitnessEvent): string {
  if (pod === null) return `an unknown namespace of ${node}`;
  return [namespace, pod].filter(Boolean).join('/') || `node ${node}`;
}

/** Describes where a packet was dropped, and by what. */
export function whereOf(event: WitnessEvent): string {
  const device = event['device'] === undefined ? '' : ` (${String(event['device'])})`;
  const symbol = event['symbol'] === undefined ? '' : ` in ${String(event['symbol']).replace(/\+.*/, '')}`;
  return `at ${placeOf(event)}${device}: ${String(event['reason'])}${symbol}`;
}
