import type { Family } from '../scene.ts';

/**
 * Kernel feature that a pattern needs. The host's kernel may lack it, but the guests' kernels provide it as a module,
 * except for Multipath TCP, which is built in or missing.
 */
export type Needs = 'esp' | 'geneve' | 'gre' | 'ipip' | 'mptcp' | 'sit' | 'vlan';

/** Variant of a pattern: the same traffic, but one packet is lost. */
export interface Twin {
  readonly words: string;
  /**
   * Drop reason that distinguishes the twin from the pattern. On kernels without this reason, the agent counts neither
   * of them as a drop. If undefined, the agent distinguishes them by the kernel function or by the packet itself.
   */
  readonly reason?: string;
  /**
   * Whether kernels that know the reason may not report it here. Whether this kernel does is then known from the oracle
   * only.
   */
  readonly isNewer?: true;
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

/** Kind of traffic that the catalogue does not include, with the reason. */
export interface NotShown {
  readonly title: string;
  readonly why: string;
}

const FILTERED: Twin = { words: 'a firewall drops one packet' };
/**
 * Twin of patterns whose packets are addressed to many receivers. Only the drop reason distinguishes a packet that was
 * filtered from one that was not wanted.
 */
const FILTERED_SHARED: Twin = { ...FILTERED, reason: 'NETFILTER_DROP' };
/**
 * Twin of a pattern whose packet is addressed to the MAC address of another host. Only the drop reason distinguishes a
 * frame that was filtered from one that a bridge port received without being its receiver.
 */
const FILTERED_FORWARDED: Twin = { ...FILTERED, reason: 'NETFILTER_DROP' };
const DAMAGED_WORDS = 'a packet of the same kind arrives with a wrong checksum';
const DAMAGED_TCP: Twin = { words: DAMAGED_WORDS, reason: 'TCP_CSUM' };
const DAMAGED_ICMP: Twin = { words: DAMAGED_WORDS, reason: 'ICMP_CSUM' };
const DAMAGED_UDP: Twin = { words: 'a datagram arrives with a wrong checksum' };
const CLOSED: Twin = { words: 'a datagram is sent to a closed port' };
const UNREAD: Twin = { words: 'the process exits with one unread packet' };
const IPV4: readonly Family[] = ['ipv4'];

export interface Chapter {
  readonly title: string;
  readonly patterns: readonly Pattern[];
}

export const CATALOGUE: readonly Chapter[] = [
  {
    title: 'Closing connections',
    patterns: [
      {
        id: 'close_client_first',
        title: 'The client closes first, and the server shortly afterwards',
        twin: FILTERED,
        often: true,
      },
      { id: 'close_server_first', title: 'The server closes first', twin: FILTERED },
      { id: 'close_at_once', title: 'Both ends close at the same time', twin: FILTERED, often: true },
      {
        id: 'close_after_one_shot',
        title: 'The client sends data and closes, and the server closes 20 ms later',
        twin: FILTERED,
      },
      {
        id: 'close_half',
        title: 'The client shuts down its sending side, and then receives 13 MB',
        twin: FILTERED,
        often: true,
      },
      { id: 'close_before_read', title: 'The connection is closed before the last bytes are read', twin: FILTERED },
      { id: 'close_before_accept', title: 'The connection is closed before the server accepts it', twin: FILTERED },
      { id: 'close_many', title: 'Twenty short connections', twin: FILTERED },
      { id: 'close_on_loopback', title: 'A connection of a host to itself', twin: FILTERED },
      { id: 'close_tls_by_both', title: 'A TLS connection that both ends close', twin: FILTERED },
      {
        id: 'close_tls_by_client',
        title: 'A TLS server sends close_notify after the client has closed',
        twin: FILTERED,
      },
      { id: 'close_by_reset', title: 'A reset ends a connection after all data has arrived', twin: DAMAGED_TCP },
      {
        id: 'write_after_shutdown',
        title: 'Data is sent to a peer that has shut down its sending side',
        twin: FILTERED,
      },
      {
        id: 'time_wait_reuse',
        title: 'A new connection with the ports of one in TIME_WAIT',
        twin: FILTERED,
        often: true,
      },
      { id: 'time_wait_reset', title: 'A reset to a connection in TIME_WAIT', twin: DAMAGED_TCP, often: true },
      { id: 'time_wait_fin_again', title: 'A duplicate of the last FIN', twin: DAMAGED_TCP },
      {
        id: 'fin_to_closed_port',
        title: 'A FIN for a connection that no longer exists at either end',
        twin: DAMAGED_TCP,
      },
      {
        id: 'reset_to_closed_port',
        title: 'A reset for a connection that no longer exists',
        twin: { words: 'a SYN is sent to a closed port', reason: 'NO_SOCKET' },
      },
    ],
  },
  {
    title: 'Open connections',
    patterns: [
      { id: 'keepalives', title: 'Keepalives', twin: FILTERED },
      { id: 'keepalives_after_close', title: 'Keepalives to an end that has closed', twin: FILTERED },
      {
        id: 'zero_window',
        title: 'A reader pauses, so that the window closes and is probed, and continues later',
        twin: FILTERED,
      },
      { id: 'slow_reader', title: 'A reader takes 1 MB per second in small parts', twin: FILTERED, often: true },
      { id: 'defer_accept', title: 'TCP_DEFER_ACCEPT', twin: FILTERED, often: true },
      { id: 'fast_open', title: 'TCP Fast Open', twin: FILTERED },
      { id: 'syn_cookies', title: 'SYN cookies', twin: FILTERED },
      { id: 'simultaneous_open', title: 'Both ends connect to each other', twin: FILTERED },
      { id: 'mptcp', title: 'Multipath TCP', twin: FILTERED, needs: 'mptcp' },
      { id: 'mptcp_to_plain', title: 'Multipath TCP to a server without it', twin: FILTERED, needs: 'mptcp' },
      { id: 'ack_to_listener', title: 'An ACK for a connection that the server does not know', twin: DAMAGED_TCP },
      { id: 'data_twice', title: 'Duplicate data', twin: DAMAGED_TCP },
      { id: 'ack_twice', title: 'A duplicate acknowledgement', twin: DAMAGED_TCP },
      { id: 'syn_twice', title: 'A duplicate SYN of an established connection', twin: DAMAGED_TCP },
      { id: 'urgent_data', title: 'Urgent data', twin: FILTERED },
      { id: 'segments_by_device', title: 'Large segments that the device splits (TSO)', twin: FILTERED },
      {
        id: 'segments_by_kernel',
        title: 'Large segments that the kernel splits and merges (GSO, GRO)',
        twin: FILTERED,
      },
    ],
  },
  {
    title: 'Datagrams',
    patterns: [
      { id: 'udp_exchange', title: 'A datagram and its response', twin: CLOSED },
      { id: 'udp_loopback', title: 'A datagram and its response on the loopback device', twin: CLOSED },
      {
        id: 'udp_unread',
        title: 'A socket is closed with unread datagrams',
        twin: { words: 'the process reads a datagram with a wrong checksum', reason: 'UDP_CSUM', isNewer: true },
        often: true,
      },
      { id: 'udp_peeked', title: 'Datagrams that are peeked at before they are read', twin: FILTERED },
      { id: 'udp_segments', title: 'Ten datagrams that one call sends (UDP_SEGMENT)', twin: FILTERED },
      {
        id: 'fragments',
        title: 'Fragments that are reassembled',
        twin: { words: 'the second fragment never arrives' },
        often: true,
      },
      { id: 'fragments_out_of_order', title: 'Fragments that arrive in reverse order', twin: FILTERED },
      {
        id: 'path_mtu',
        title: 'A path with a smaller MTU',
        twin: { words: 'a datagram is too large for the other end' },
      },
      {
        id: 'raw_protocol',
        title: 'A raw socket receives its own protocol',
        twin: { words: 'the same packet arrives without the socket' },
      },
      { id: 'sniffer', title: 'Packet sockets, such as those of tcpdump, are opened and closed', twin: FILTERED },
    ],
  },
  {
    title: 'ICMP',
    patterns: [
      { id: 'ping_raw', title: 'Ping from a raw socket', twin: FILTERED, often: true },
      { id: 'ping_dgram', title: 'Ping from a ping socket', twin: FILTERED },
      { id: 'ping_raw_loopback', title: 'Ping from a raw socket to the loopback address', twin: FILTERED },
      { id: 'ping_dgram_loopback', title: 'Ping from a ping socket to the loopback address', twin: FILTERED },
      { id: 'ping_answer_late', title: 'An echo reply after ping has exited', twin: DAMAGED_ICMP },
      {
        id: 'ping_all',
        title: 'Ping to the broadcast address (IPv4) or to all nodes (IPv6)',
        twin: FILTERED_SHARED,
        often: true,
      },
      { id: 'icmp_error_to_socket', title: 'An ICMP error for a socket', twin: DAMAGED_ICMP },
      {
        id: 'icmp_error_to_nobody',
        title: 'An ICMP error about a packet that this host did not send',
        twin: DAMAGED_ICMP,
      },
    ],
  },
  {
    title: 'Broadcast and multicast',
    patterns: [
      { id: 'multicast_joined', title: 'A multicast group with a member', twin: FILTERED_SHARED },
      { id: 'multicast_not_joined', title: 'A multicast group without a member on the host', twin: FILTERED_SHARED },
      { id: 'multicast_to_all', title: 'A datagram to all hosts at a closed port', twin: FILTERED_SHARED },
      { id: 'multicast_dns', title: 'Multicast DNS', twin: FILTERED_SHARED },
      { id: 'multicast_own', title: 'A group member that receives its own packets', twin: FILTERED_SHARED },
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
      { id: 'resolution', title: 'ARP (IPv4) or neighbour discovery (IPv6)', twin: FILTERED_SHARED },
      { id: 'resolution_of_others', title: 'ARP or neighbour discovery for a third host', twin: FILTERED_SHARED },
      {
        id: 'announcement',
        title: 'Gratuitous ARP (IPv4) or an unsolicited advertisement (IPv6)',
        twin: FILTERED_SHARED,
      },
      {
        id: 'new_address',
        title: 'ARP probes (IPv4) or duplicate address detection (IPv6) for a new address',
        twin: FILTERED_SHARED,
      },
      {
        id: 'lease',
        title: 'DHCP with dnsmasq and udhcpc (IPv4) or router advertisements (IPv6)',
        twin: FILTERED_SHARED,
      },
      {
        id: 'without_ipv6',
        title: 'A host without IPv6 receives IPv6 packets of another host',
        twin: { words: 'a datagram is sent to that host' },
        often: true,
      },
      { id: 'lldp', title: 'LLDP', twin: DAMAGED_UDP },
      { id: 'spanning_tree', title: 'A frame of the Spanning Tree Protocol', twin: DAMAGED_UDP },
      { id: 'unknown_protocol', title: 'A frame of an unknown protocol', twin: DAMAGED_UDP },
      { id: 'unknown_vlan', title: 'A frame with an unknown VLAN tag', twin: DAMAGED_UDP },
      { id: 'other_mac', title: 'Frames for other hosts on a promiscuous device', twin: CLOSED, often: true },
    ],
  },
  {
    title: 'Devices',
    patterns: [
      { id: 'bridge_start', title: 'Packets at the ports of a bridge that is not up yet', twin: CLOSED, often: true },
      { id: 'bridge_traffic', title: 'Packets through a bridge', twin: FILTERED_FORWARDED },
      { id: 'bridge_flood', title: 'A bridge floods a packet to all ports', twin: CLOSED },
      { id: 'bridge_empty', title: 'Multicast packets of a bridge without ports', twin: FILTERED },
      {
        id: 'no_carrier',
        title: 'Packets on a device whose peer is not up yet',
        twin: { words: 'a datagram is sent to a host behind the device' },
        often: true,
      },
      { id: 'macvlan', title: 'A macvlan device', twin: CLOSED },
      { id: 'tun', title: 'A tun device, as used by a VPN', twin: UNREAD },
      { id: 'tap', title: 'A tap device', twin: UNREAD },
      {
        id: 'xdp_redirect',
        title: 'An XDP program that redirects packets (XDP_REDIRECT)',
        twin: { words: 'the XDP program drops one packet' },
      },
      { id: 'mirror', title: 'tc mirrors packets to a device that no program reads', twin: FILTERED },
      {
        id: 'forwarded',
        title: 'A router forwards packets',
        twin: { words: 'the hop limit of a packet runs out at the router' },
      },
    ],
  },
  {
    title: 'Tunnels',
    patterns: [
      { id: 'vxlan', title: 'VXLAN', twin: FILTERED },
      { id: 'vxlan_start', title: 'A VXLAN device that knows no other host yet', twin: FILTERED },
      { id: 'geneve', title: 'Geneve', twin: FILTERED, needs: 'geneve' },
      { id: 'ipip', title: 'IP in IP', twin: FILTERED, needs: 'ipip' },
      { id: 'gre', title: 'GRE', twin: FILTERED, needs: 'gre' },
      { id: 'sit', title: 'IPv6 in IPv4', twin: FILTERED, families: IPV4, needs: 'sit' },
      { id: 'vlan', title: 'VLAN', twin: FILTERED, needs: 'vlan' },
      { id: 'ipsec', title: 'IPsec with ESP in transport mode', twin: FILTERED, needs: 'esp' },
    ],
  },
];

export const NOT_SHOWN: readonly NotShown[] = [
  { title: 'WireGuard', why: 'Its configuration needs a tool that the tests do not install.' },
  { title: 'Segmentation and merging by a network card', why: 'Virtual devices leave both to the kernel.' },
  { title: 'Zero-copy AF_XDP', why: 'It needs a network card whose driver supports it.' },
  {
    title: 'The first large packet to a router whose MTU is smaller',
    why: 'This packet is lost and retransmitted, so it counts as a drop.',
  },
];

export const PATTERNS: readonly Pattern[] = CATALOGUE.flatMap(({ patterns }) => patterns);

export function isFor(pattern: Pattern, family: Family): boolean {
  return pattern.families?.includes(family) ?? true;
}
