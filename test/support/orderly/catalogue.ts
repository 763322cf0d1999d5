import type { Family } from '../scene.ts';

/** Kernel feature that a pattern needs. The host may lack it, but guests have it as a module. */
export type Needs = 'esp' | 'geneve' | 'gre' | 'ipip' | 'sit' | 'vlan';

/** The twin of a pattern is the same traffic with one lost packet. This describes the loss. */
export interface Twin {
  readonly words: string;
  /**
   * Drop reason that distinguishes the twin from the pattern. On a kernel without this reason, the agent counts neither as a drop. If undefined, the
   * agent distinguishes them by the kernel function or by the packet.
   */
  readonly reason?: string;
}

/** Traffic in which nothing is lost, with its twin. `id` is the name of a Python function in this directory. */
export interface Pattern {
  readonly id: string;
  readonly title: string;
  readonly twin: Twin;
  readonly families?: readonly Family[];
  readonly needs?: Needs;
  /** Whether `npm test` plays the pattern. `test:soak` and `test:kernels` play all patterns. */
  readonly often?: true;
}

/** Traffic that is not in the catalogue. */
export interface NotShown {
  readonly title: string;
  readonly why: string;
}

const FILTERED: Twin = { words: 'a firewall drops one packet of it' };
/** For packets to many receivers: only the reason distinguishes a filtered packet from an unwanted one. */
const FILTERED_SHARED: Twin = { ...FILTERED, reason: 'NETFILTER_DROP' };
const DAMAGED_WORDS = 'one like it arrives with a wrong checksum';
const DAMAGED_TCP: Twin = { words: DAMAGED_WORDS, reason: 'TCP_CSUM' };
const DAMAGED_ICMP: Twin = { words: DAMAGED_WORDS, reason: 'ICMP_CSUM' };
const DAMAGED_UDP: Twin = { words: 'a datagram arrives with a wrong checksum' };
const CLOSED: Twin = { words: 'a datagram goes to a closed port' };
const UNREAD: Twin = { words: 'the process ends with one packet unread' };
const IPV4: readonly Family[] = ['ipv4'];

export interface Chapter {
  readonly title: string;
  readonly patterns: readonly Pattern[];
}

export const CATALOGUE: readonly Chapter[] = [
  {
    title: 'The end of a connection',
    patterns: [
      {
        id: 'close_client_first',
        title: 'The client closes first, the server a moment later',
        twin: FILTERED,
        often: true,
      },
      { id: 'close_server_first', title: 'The server closes first', twin: FILTERED },
      { id: 'close_at_once', title: 'Both close at the same time', twin: FILTERED, often: true },
      {
        id: 'close_after_one_shot',
        title: 'The client sends and closes; the server closes 20 ms later',
        twin: FILTERED,
      },
      { id: 'close_half', title: 'The client shuts down its side, and receives 13 MB', twin: FILTERED, often: true },
      { id: 'close_before_read', title: 'Closed before the last bytes are read', twin: FILTERED },
      { id: 'close_before_accept', title: 'Closed before the server accepts', twin: FILTERED },
      { id: 'close_many', title: 'Twenty short connections', twin: FILTERED },
      { id: 'close_on_loopback', title: 'A connection of a host to itself', twin: FILTERED },
      { id: 'close_tls_by_both', title: 'TLS, closed by both ends', twin: FILTERED },
      {
        id: 'close_tls_by_client',
        title: 'TLS: the server sends close_notify to a client that is gone',
        twin: FILTERED,
      },
      { id: 'close_by_reset', title: 'A reset ends a connection after all data has arrived', twin: DAMAGED_TCP },
      { id: 'write_after_shutdown', title: 'Written to a peer that has shut down its side', twin: FILTERED },
      {
        id: 'time_wait_reuse',
        title: 'A new connection with the ports of one in TIME_WAIT',
        twin: FILTERED,
        often: true,
      },
      { id: 'time_wait_reset', title: 'A reset to a connection in TIME_WAIT', twin: DAMAGED_TCP, often: true },
      { id: 'time_wait_fin_again', title: 'The last FIN comes again', twin: DAMAGED_TCP },
      { id: 'fin_to_closed_port', title: 'A FIN for a connection that is gone at both ends', twin: DAMAGED_TCP },
      {
        id: 'reset_to_closed_port',
        title: 'A reset for a connection that is gone',
        twin: { words: 'a SYN goes to a closed port', reason: 'NO_SOCKET' },
      },
    ],
  },
  {
    title: 'A connection',
    patterns: [
      { id: 'keepalives', title: 'Keepalives', twin: FILTERED },
      { id: 'keepalives_after_close', title: 'Keepalives to a closed end', twin: FILTERED },
      { id: 'zero_window', title: 'A reader that pauses: closed window, probes, reopened', twin: FILTERED },
      { id: 'defer_accept', title: 'TCP_DEFER_ACCEPT', twin: FILTERED, often: true },
      { id: 'fast_open', title: 'TCP Fast Open', twin: FILTERED },
      { id: 'syn_cookies', title: 'SYN cookies', twin: FILTERED },
      { id: 'simultaneous_open', title: 'Both connect to each other', twin: FILTERED },
      { id: 'mptcp', title: 'Multipath TCP', twin: FILTERED },
      { id: 'mptcp_to_plain', title: 'Multipath TCP to a server without it', twin: FILTERED },
      { id: 'ack_to_listener', title: 'An ACK for a connection that the server does not know', twin: DAMAGED_TCP },
      { id: 'data_twice', title: 'Duplicate data', twin: DAMAGED_TCP },
      { id: 'ack_twice', title: 'A duplicate acknowledgement', twin: DAMAGED_TCP },
      { id: 'syn_twice', title: 'The SYN of a connection that is established', twin: DAMAGED_TCP },
      { id: 'urgent_data', title: 'Urgent data', twin: FILTERED },
      { id: 'segments_by_device', title: 'Large segments (TSO)', twin: FILTERED },
      { id: 'segments_by_kernel', title: 'Segments cut and joined by the kernel (GSO, GRO)', twin: FILTERED },
    ],
  },
  {
    title: 'Datagrams',
    patterns: [
      { id: 'udp_exchange', title: 'A datagram and its answer', twin: CLOSED },
      { id: 'udp_loopback', title: 'The same on the loopback device', twin: CLOSED },
      {
        id: 'udp_unread',
        title: 'A socket closed with unread datagrams',
        twin: { words: 'a wrong checksum that the kernel finds when the process reads', reason: 'SOCKET_CLOSE' },
        often: true,
      },
      { id: 'udp_peeked', title: 'Datagrams peeked at before they are read', twin: FILTERED },
      { id: 'udp_segments', title: 'Ten datagrams in one call (UDP_SEGMENT)', twin: FILTERED },
      {
        id: 'fragments',
        title: 'Fragments that are joined',
        twin: { words: 'the second fragment never comes', reason: 'FRAG_REASM_TIMEOUT' },
        often: true,
      },
      { id: 'fragments_out_of_order', title: 'Fragments, the last one first', twin: FILTERED },
      {
        id: 'path_mtu',
        title: 'A smaller MTU on the way',
        twin: { words: 'a datagram is larger than the other end takes' },
      },
      {
        id: 'raw_protocol',
        title: 'A protocol that a raw socket receives',
        twin: { words: 'the same packet without the socket' },
      },
      { id: 'sniffer', title: 'Packet sockets, as of tcpdump, that start and end', twin: FILTERED },
    ],
  },
  {
    title: 'ICMP',
    patterns: [
      { id: 'ping_raw', title: 'Ping by a raw socket', twin: FILTERED, often: true },
      { id: 'ping_dgram', title: 'Ping by a ping socket', twin: FILTERED },
      { id: 'ping_raw_loopback', title: 'Ping by a raw socket to the loopback address', twin: FILTERED },
      { id: 'ping_dgram_loopback', title: 'Ping by a ping socket to the loopback address', twin: FILTERED },
      { id: 'ping_answer_late', title: 'An answer to a ping that has ended', twin: DAMAGED_ICMP },
      {
        id: 'ping_all',
        title: 'Ping to the broadcast address; to all nodes over IPv6',
        twin: FILTERED_SHARED,
        often: true,
      },
      { id: 'icmp_error_to_socket', title: 'An error for a socket', twin: DAMAGED_ICMP },
      { id: 'icmp_error_to_nobody', title: 'An error about a packet that nobody here sent', twin: DAMAGED_ICMP },
    ],
  },
  {
    title: 'To many',
    patterns: [
      { id: 'multicast_joined', title: 'A group with a member', twin: FILTERED_SHARED },
      { id: 'multicast_not_joined', title: 'A group without a member here', twin: FILTERED_SHARED },
      { id: 'multicast_to_all', title: 'To all hosts, at a closed port', twin: FILTERED_SHARED },
      { id: 'multicast_dns', title: 'Multicast DNS', twin: FILTERED_SHARED },
      { id: 'multicast_own', title: 'A member that receives its own packets', twin: FILTERED_SHARED },
      {
        id: 'broadcast',
        title: 'A broadcast without a listener',
        twin: FILTERED_SHARED,
        families: IPV4,
        often: true,
      },
    ],
  },
  {
    title: 'Neighbours',
    patterns: [
      { id: 'resolution', title: 'ARP; neighbour discovery', twin: FILTERED_SHARED },
      { id: 'resolution_of_others', title: 'ARP and neighbour discovery for a third host', twin: FILTERED_SHARED },
      { id: 'announcement', title: 'Gratuitous ARP; an unsolicited advertisement', twin: FILTERED_SHARED },
      { id: 'new_address', title: 'A new address: probes for it, detection of duplicates', twin: FILTERED_SHARED },
      { id: 'lease', title: 'DHCP by dnsmasq and udhcpc; router advertisements', twin: FILTERED_SHARED },
      {
        id: 'without_ipv6',
        title: 'IPv6 switched off at one of two hosts',
        twin: { words: 'a datagram to that host, which accepts none' },
        often: true,
      },
      { id: 'lldp', title: 'LLDP', twin: DAMAGED_UDP },
      { id: 'spanning_tree', title: 'A frame of the spanning tree protocol', twin: DAMAGED_UDP },
      { id: 'unknown_protocol', title: 'An unknown protocol of the link', twin: DAMAGED_UDP },
      { id: 'unknown_vlan', title: 'An unknown VLAN', twin: DAMAGED_UDP },
      { id: 'other_mac', title: 'Frames for other hosts on a promiscuous port', twin: CLOSED, often: true },
    ],
  },
  {
    title: 'Devices',
    patterns: [
      { id: 'bridge_start', title: 'Ports of a bridge that is not up yet', twin: CLOSED, often: true },
      { id: 'bridge_traffic', title: 'A bridge', twin: FILTERED },
      { id: 'bridge_flood', title: 'A bridge that floods all ports', twin: CLOSED },
      { id: 'bridge_empty', title: 'Multicast of a bridge without ports', twin: FILTERED },
      {
        id: 'no_carrier',
        title: 'A device whose peer is not up yet',
        twin: { words: 'a datagram goes to one host behind it' },
        often: true,
      },
      { id: 'macvlan', title: 'macvlan', twin: CLOSED },
      { id: 'tun', title: 'tun, as used by a VPN', twin: UNREAD },
      { id: 'tap', title: 'tap', twin: UNREAD },
      { id: 'xdp_redirect', title: 'XDP_REDIRECT', twin: { words: 'the program drops one packet' } },
      { id: 'mirror', title: 'A mirror by tc, to a device that nobody reads', twin: FILTERED },
      { id: 'forwarded', title: 'A router on the way', twin: { words: 'the hop limit ends there' } },
    ],
  },
  {
    title: 'Tunnels',
    patterns: [
      { id: 'vxlan', title: 'VXLAN', twin: FILTERED },
      { id: 'vxlan_start', title: 'VXLAN that knows no other host yet', twin: FILTERED },
      { id: 'geneve', title: 'Geneve', twin: FILTERED, needs: 'geneve' },
      { id: 'ipip', title: 'IP in IP', twin: FILTERED, needs: 'ipip' },
      { id: 'gre', title: 'GRE', twin: FILTERED, needs: 'gre' },
      { id: 'sit', title: 'IPv6 in IPv4', twin: FILTERED, families: IPV4, needs: 'sit' },
      { id: 'vlan', title: 'VLAN', twin: FILTERED, needs: 'vlan' },
      { id: 'ipsec', title: 'IPsec: ESP in transport mode', twin: FILTERED, needs: 'esp' },
    ],
  },
];

export const NOT_SHOWN: readonly NotShown[] = [
  { title: 'WireGuard', why: 'its keys need a separate tool, which the tests do not install' },
  { title: 'Segmentation and joining by a network card', why: 'virtual devices leave them to the kernel' },
  { title: 'AF_XDP without copies', why: 'needs a network card whose driver supports it' },
  {
    title: 'The first large packet to a router whose MTU is smaller',
    why: 'that packet is lost and retransmitted, so it counts',
  },
];

export const PATTERNS: readonly Pattern[] = CATALOGUE.flatMap(({ patterns }) => patterns);

export function isFor(pattern: Pattern, family: Family): boolean {
  return pattern.families?.includes(family) ?? true;
}
