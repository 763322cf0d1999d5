export interface ReasonDescription {
  /** Description of the event in one plain sentence. */
  readonly what: string;
  /** Advice on what to check. */
  readonly hint: string;
}

/**
 * Explanations of the kernel's drop reasons: what happened, and what to check. The names are given without a prefix
 * (kernel: include/net/dropreason-core.h of 5.17 to 7.x, net/openvswitch/drop.h, net/mac80211/drop.h).
 */
// biome-ignore format: one line per reason is easier to read
const REASONS: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  CONSUMED: ['The packet was consumed normally.', 'Nothing, because no packet was lost.'],
  NOT_SPECIFIED: ['The kernel gives no reason here.', 'The function in `symbol`. Common causes are XDP programs, blackhole routes and packets above the MTU of a veth.'],
  NO_SOCKET: ['No socket listens on the port.', 'Is the server running, and does it listen on this address and port?'],
  SOCKET_CLOSE: ['The socket was closed with data still queued.', 'Normal when a process ends. Otherwise find the process that closes its socket too early.'],
  SOCKET_FILTER: ['A filter on the socket or its control group refused the packet.', 'bpftool cgroup tree: which BPF programs are attached to the socket or the cgroup?'],
  SOCKET_RCVBUFF: ['The receive buffer of the socket is full.', 'The process reads too slowly: more CPU for it, or a larger SO_RCVBUF (net.core.rmem_max).'],
  UNIX_DISCONNECT: ['A Unix datagram socket changed or lost its peer with data still queued.', 'Normal when a local service restarts.'],
  UNIX_SKIP_OOB: ['The reader skipped out-of-band data of a Unix socket.', 'Does the reader know that the writer uses MSG_OOB?'],
  PKT_TOO_SMALL: ['The packet is shorter than its headers say.', 'A sender, tunnel or driver truncates packets: capture them where they arrive.'],
  TCP_CSUM: ['The TCP checksum is wrong.', 'A faulty device, cable or checksum offload: try ethtool -K DEVICE rx off tx off.'],
  UDP_CSUM: ['The UDP checksum is wrong.', 'A faulty device, cable or checksum offload: try ethtool -K DEVICE rx off tx off.'],
  NETFILTER_DROP: ['A firewall rule refused the packet.', 'The firewall rules (nft list ruleset, iptables -nvL), network policies, and whether the conntrack table is full.'],
  OTHERHOST: ['The frame is addressed to another MAC address.', 'Is a device in promiscuous mode, or a neighbour entry stale (ip neigh)?'],
  IP_CSUM: ['The checksum of the IP header is wrong.', 'A faulty device, or a middlebox that changes headers.'],
  IP_INHDR: ['The IP header is not valid, or its TTL has run out.', 'A routing loop (traceroute), or a sender that builds packets by hand.'],
  IP_RPFILTER: ['The packet arrived on a device that is not on the route back to its source.', 'Asymmetric routes: net.ipv4.conf.*.rp_filter, ip route get SOURCE.'],
  UNICAST_IN_L2_MULTICAST: ['A packet for one host arrived in a multicast or broadcast frame.', 'A sender or load balancer that mixes multicast MAC and unicast IP addresses.'],
  XFRM_POLICY: ['An IPsec policy refused the packet.', 'ip xfrm policy, ip xfrm state, /proc/net/xfrm_stat.'],
  IP_NOPROTO: ['This host does not handle this IP protocol.', 'Is a tunnel or a kernel module missing?'],
  PROTO_MEM: ['The memory limit of the protocol is reached.', 'net.ipv4.tcp_mem, net.ipv4.udp_mem and the memory limit of the cgroup; ss -m shows the sockets that use the memory.'],
  TCP_AUTH_HDR: ['The authentication options of the segment contradict each other.', 'TCP-MD5 and TCP-AO settings of both ends.'],
  TCP_MD5NOTFOUND: ['The segment has no MD5 signature, but needs one.', 'Is the key configured on the other end too?'],
  TCP_MD5UNEXPECTED: ['The segment has an MD5 signature that this end does not expect.', 'Is the key configured on this end too?'],
  TCP_MD5FAILURE: ['The MD5 signature of the segment is wrong.', 'Do both ends have the same key?'],
  TCP_AONOTFOUND: ['The segment has no TCP-AO signature, but needs one.', 'Is the key configured on the other end too?'],
  TCP_AOUNEXPECTED: ['The segment has a TCP-AO signature that this end does not expect.', 'Is the key configured on this end too?'],
  TCP_AOKEYNOTFOUND: ['The TCP-AO key of the segment is not known here.', 'Do both ends have the same keys, and do they change them at the same time?'],
  TCP_AOFAILURE: ['The TCP-AO signature of the segment is wrong.', 'Do both ends have the same key?'],
  SOCKET_BACKLOG: ['The backlog of the socket is full, while its process holds it.', 'The process is too slow or has too little CPU; a larger SO_RCVBUF helps with bursts.'],
  TCP_FLAGS: ['The flags of the segment make no sense here.', 'A port scan, or a middlebox that breaks connections.'],
  TCP_ABORT_ON_DATA: ['Data arrived for a connection that was already closed. The kernel responded with a reset.', 'The event `tcp_reset`, which says whether data was lost.'],
  TCP_ZEROWINDOW: ['The sender sends data although the receive window is closed.', 'The process does not read: look at its CPU and its receive queue (ss -tn).'],
  TCP_OLD_DATA: ['The data was already received.', 'Unnecessary retransmissions by the sender, caused by a lossy or slow return path.'],
  TCP_OVERWINDOW: ['The data is beyond the receive window.', 'The process reads too slowly, or the sender ignores the window.'],
  TCP_OFOMERGE: ['The data is already queued here, out of order.', 'Loss or reordering on the path, with unnecessary retransmissions.'],
  TCP_RFC7323_PAWS: ['The timestamp of the segment is too old.', 'NAT that mixes hosts with different clocks, or very late duplicates.'],
  TCP_RFC7323_PAWS_ACK: ['The timestamp of the acknowledgement is too old.', 'Reordered acknowledgements: mostly harmless.'],
  TCP_RFC7323_TW_PAWS: ['The timestamp is older than that of the connection in TIME_WAIT.', 'NAT that mixes hosts with different clocks, or ports that are reused too soon.'],
  TCP_RFC7323_TSECR: ['The segment echoes a timestamp that was never sent.', 'A middlebox that changes TCP options.'],
  TCP_LISTEN_OVERFLOW: ['The accept queue of the server was full when a client completed its connection. SYNs that are refused for this reason do not count as dropped packets; see the event accept_queue_full.', 'The server accepts too slowly, or its backlog is small: ss -ltn, net.core.somaxconn.'],
  TCP_OLD_SEQUENCE: ['The segment is older than data that was already received.', 'Duplicates, or keepalive and window probes: mostly harmless.'],
  TCP_INVALID_SEQUENCE: ['The sequence number is outside of the window.', 'A middlebox or NAT that mixes connections.'],
  TCP_INVALID_END_SEQUENCE: ['The segment ends outside of the window.', 'A sender that ignores the window, or a middlebox.'],
  TCP_INVALID_ACK_SEQUENCE: ['The acknowledgement is for data that was never sent.', 'A middlebox or NAT that mixes connections, or ports that are reused too soon.'],
  TCP_RESET: ['The segment is a reset, which was processed.', 'The event tcp_reset, which shows the sender.'],
  TCP_INVALID_SYN: ['A SYN arrived in the middle of a connection.', 'The other end was restarted, or ports are reused too soon.'],
  TCP_CLOSE: ['The socket is closed.', 'Late packets of a closed connection: mostly harmless.'],
  TCP_FASTOPEN: ['A TCP Fast Open connection does not accept this segment yet.', 'net.ipv4.tcp_fastopen on both ends.'],
  TCP_OLD_ACK: ['The acknowledgement is old, but not wrong.', 'Reordering on the path: mostly harmless.'],
  TCP_TOO_OLD_ACK: ['The acknowledgement is too old to be real.', 'Very late duplicates, or forged segments.'],
  TCP_ACK_UNSENT_DATA: ['The acknowledgement is for data that was not sent yet.', 'A middlebox or NAT that mixes connections.'],
  TCP_OFO_QUEUE_PRUNE: ['Data queued out of order was discarded to free memory.', 'Loss on the path together with small receive memory: net.ipv4.tcp_rmem.'],
  TCP_OFO_DROP: ['Data that was queued out of order has meanwhile arrived in order.', 'Loss or reordering on the path.'],
  IP_OUTNOROUTES: ['The route to the destination no longer exists.', 'ip route get DESTINATION: was a route or an address removed?'],
  BPF_CGROUP_EGRESS: ['A BPF program of the control group refused to send the packet.', 'bpftool cgroup tree: network policies of the CNI or of systemd (IPAddressDeny).'],
  IPV6DISABLED: ['IPv6 is disabled on the device.', 'net.ipv6.conf.DEVICE.disable_ipv6.'],
  NEIGH_CREATEFAIL: ['No neighbour entry could be created.', 'The neighbour table is full: net.ipv4.neigh.default.gc_thresh3, ip neigh.'],
  NEIGH_FAILED: ['The next hop does not answer ARP or neighbour discovery.', 'Is it up and in the same network? ip neigh.'],
  NEIGH_QUEUEFULL: ['Too many packets wait for the address of the next hop.', 'Is the next hop up? net.ipv4.neigh.DEVICE.unres_qlen_bytes.'],
  NEIGH_DEAD: ['The neighbour entry was deleted meanwhile.', 'Addresses or devices that come and go.'],
  NEIGH_HH_FILLFAIL: ['The link-layer header could not be written.', 'A device that was changed while it was sending.'],
  TC_EGRESS: ['A tc filter refused to send the packet.', 'tc filter show dev DEVICE egress, bpftool net: policies of the CNI.'],
  SECURITY_HOOK: ['A security module refused the packet.', 'SELinux, AppArmor or a BPF LSM program: their audit log.'],
  QDISC_DROP: ['The queue of the device did not accept the packet.', 'tc -s qdisc: a shaper or a full queue; is the bandwidth limit of the Pod too small?'],
  QDISC_OVERLIMIT: ['The queue of the device is full.', 'tc -s qdisc: its limit, and what the device can send.'],
  QDISC_CONGESTED: ['The queue management of the device dropped the packet to signal congestion.', 'Normal under load: tc -s qdisc; more bandwidth, or ECN.'],
  CAKE_FLOOD: ['The flood protection of the queue dropped the packet.', 'A flow that does not slow down: tc -s qdisc.'],
  FQ_BAND_LIMIT: ['The priority band of the queue is full.', 'tc -s qdisc: band limits of fq.'],
  FQ_HORIZON_LIMIT: ['The send time of the packet is too far in the future.', 'tc -s qdisc: horizon of fq; which process uses SO_TXTIME or pacing?'],
  FQ_FLOW_LIMIT: ['One flow has too many packets in the queue.', 'tc -s qdisc: flow_limit of fq.'],
  CPU_BACKLOG: ['The receive backlog of a CPU is full.', 'net.core.netdev_max_backlog; is one CPU busy with all packets? (RPS, RSS)'],
  XDP: ['An XDP program refused the packet.', 'bpftool net: which one, and its own counters.'],
  TC_INGRESS: ['A tc filter refused the received packet.', 'tc filter show dev DEVICE ingress, bpftool net: policies of the CNI.'],
  UNHANDLED_PROTO: ['This host does not handle this type of frame.', 'A protocol of the local network that this host does not speak: mostly harmless.'],
  PTYPE_ABSENT: ['This host does not handle this type of frame.', 'A protocol of the local network that this host does not speak: mostly harmless.'],
  SKB_CSUM: ['The checksum could not be computed.', 'A driver or tunnel that hands over odd packets.'],
  SKB_GSO_SEG: ['A large packet could not be split into segments.', 'Offload settings of the device: ethtool -k DEVICE; try without gso.'],
  SKB_UCOPY_FAULT: ['Data could not be copied from user space.', 'A program that gives the kernel a bad buffer.'],
  DEV_HDR: ['The header that the device needs is not valid.', 'A tun, tap or vhost program that writes odd headers.'],
  DEV_READY: ['The device is not up or not ready.', 'ip link: is it up, does it have a carrier, is the program behind a tap device running?'],
  FULL_RING: ['The ring of the device is full.', 'The reader of a tap or AF_PACKET ring is too slow.'],
  NOMEM: ['The kernel had no memory for the packet.', 'Free memory of the node and of the cgroup.'],
  HDR_TRUNC: ['The packet ends within its headers.', 'A sender, tunnel or driver truncates packets: capture them where they arrive.'],
  TAP_FILTER: ['A BPF filter on the tap device refused the packet.', 'The filter of the virtual machine or program that owns the device.'],
  TAP_TXFILTER: ['The address filter of the tap device refused the packet.', 'The MAC filter of the virtual machine that owns the device.'],
  ICMP_CSUM: ['The ICMP checksum is wrong.', 'A faulty device, or a middlebox that changes packets.'],
  INVALID_PROTO: ['The packet breaks the rules of its protocol.', 'For example ICMP to a broadcast address: who sends it?'],
  IP_INADDRERRORS: ['The packet is for another host, and this host does not forward packets.', 'net.ipv4.ip_forward; does the sender use the right next hop?'],
  IP_INNOROUTES: ['There is no route to the destination of a packet to forward.', 'ip route get DESTINATION from SOURCE iif DEVICE.'],
  IP_LOCAL_SOURCE: ['The packet comes from outside, but its source is an address of this host.', 'A loop, a duplicate address, or a forged source.'],
  IP_INVALID_SOURCE: ['The source address is multicast, broadcast or zero.', 'A sender without a proper address, or a forged source.'],
  IP_LOCALNET: ['A packet with a loopback address came from outside.', 'net.ipv4.conf.DEVICE.route_localnet, NAT to 127.0.0.1, or a forged source.'],
  IP_INVALID_DEST: ['The destination address is zero.', 'A sender without a proper configuration.'],
  PKT_TOO_BIG: ['The packet is larger than the MTU.', 'MTU of the devices and tunnels on the path, and whether ICMP "fragmentation needed" gets back.'],
  DUP_FRAG: ['The fragment was already received or overlaps another.', 'Duplicates on the path, or forged fragments.'],
  FRAG_REASM_TIMEOUT: ['Not all fragments of the packet arrived in time.', 'Loss on the path, or a firewall that drops fragments. A smaller MTU avoids fragments.'],
  FRAG_TOO_FAR: ['Too many other fragments arrived in between.', 'net.ipv4.ipfrag_max_dist; reordering on the path.'],
  TCP_MINTTL: ['The TTL is below the minimum that the socket sets.', 'IP_MINTTL of the program (for example BGP): is the peer further away than allowed?'],
  IPV6_BAD_EXTHDR: ['An IPv6 extension header is not valid.', 'A sender that builds packets by hand.'],
  IPV6_NDISC_FRAG: ['Neighbour discovery arrived in fragments.', 'Forged neighbour discovery, or net.ipv6.conf.*.suppress_frag_ndisc.'],
  IPV6_NDISC_HOP_LIMIT: ['Neighbour discovery came from beyond the link.', 'Forged neighbour discovery.'],
  IPV6_NDISC_BAD_CODE: ['A neighbour discovery message is not valid.', 'The router or host that sends it.'],
  IPV6_NDISC_BAD_OPTIONS: ['The options of a neighbour discovery message are not valid.', 'The router or host that sends it.'],
  IPV6_NDISC_NS_OTHERHOST: ['A neighbour solicitation is for another host.', 'Normal on a shared link.'],
  QUEUE_PURGE: ['A whole queue was discarded.', 'A device or socket that was closed: mostly harmless.'],
  TC_COOKIE_ERROR: ['A tc filter lost its state for this packet.', 'Offloaded tc filters that are changed under traffic.'],
  PACKET_SOCK_ERROR: ['A packet socket could not accept the packet.', 'A capture (tcpdump, an AF_PACKET program) that is too slow or out of memory.'],
  TC_CHAIN_NOTFOUND: ['A tc filter points to a chain that does not exist.', 'tc filter show: goto chain.'],
  TC_RECLASSIFY_LOOP: ['tc filters reclassify the packet in a loop.', 'tc filter show: reclassify.'],
  VXLAN_INVALID_HDR: ['The VXLAN header is not valid.', 'Do both ends of the tunnel use the same port and extensions?'],
  VXLAN_VNI_NOT_FOUND: ['No VXLAN device has this network number.', 'ip -d link: VNI and VTEP of both ends.'],
  MAC_INVALID_SOURCE: ['The source MAC address is not valid.', 'A multicast or zero address as source: who sends it?'],
  VXLAN_ENTRY_EXISTS: ['A packet with the MAC address of a static entry came from another source.', 'bridge fdb: a host that has moved, or a duplicate MAC address.'],
  NO_TX_TARGET: ['The tunnel has no destination for this packet.', 'bridge fdb and ip route of the tunnel device: the overlay of the CNI.'],
  IP_TUNNEL_ECN: ['The congestion marks inside and outside of the tunnel contradict each other.', 'A router on the path that writes invalid ECN marks.'],
  TUNNEL_TXINFO: ['The tunnel got no destination for the packet.', 'A tunnel device in external mode without a filter or route that sets a destination.'],
  LOCAL_MAC: ['The source MAC address is that of the receiving device.', 'A loop in the local network, or a duplicate MAC address.'],
  ARP_PVLAN_DISABLE: ['Proxy ARP for hosts in the same network is disabled on this device.', 'net.ipv4.conf.DEVICE.proxy_arp_pvlan.'],
  MAC_IEEE_MAC_CONTROL: ['The frame is for the link itself, and must not be forwarded.', 'Normal for pause frames and similar frames on a bridge.'],
  BRIDGE_INGRESS_STP_STATE: ['The port of the bridge does not forward yet.', 'bridge link: is there a loop, or has the port just come up? (spanning tree)'],
  CAN_RX_INVALID_FRAME: ['The CAN frame is not valid.', 'The CAN device and its driver.'],
  CANFD_RX_INVALID_FRAME: ['The CAN FD frame is not valid.', 'The CAN device and its driver.'],
  CANXL_RX_INVALID_FRAME: ['The CAN XL frame is not valid.', 'The CAN device and its driver.'],
  PFMEMALLOC: ['The packet was allocated from emergency memory, which is reserved for swapping.', 'The node is out of memory.'],
  DUALPI2_STEP_DROP: ['The queue dropped the packet to signal congestion.', 'Normal under load: tc -s qdisc; do the senders heed ECN?'],
  PSP_INPUT: ['The encryption check of a received packet failed.', 'PSP keys and settings of both ends.'],
  PSP_OUTPUT: ['The encryption check of a packet to be sent failed.', 'PSP keys and settings of this end.'],
  RECURSION_LIMIT: ['Virtual devices forward the packet in a loop.', 'Tunnels whose outer packets are routed into themselves: ip route get.'],
  unknown: ['This kernel gives no reasons for drops.', 'The function in `symbol`, available since 5.13. Kernels give reasons since 5.17.'],
  BLACKHOLE: ['A blackhole route discarded the packet.', 'ip route: is the blackhole intended?'],
  OVS_DROP_LAST_ACTION: ['The Open vSwitch flow ended without an output for the packet.', 'The flow: ovs-appctl ofproto/trace.'],
  OVS_DROP_ACTION_ERROR: ['An Open vSwitch action failed.', 'ovs-dpctl dump-flows, the log of ovs-vswitchd.'],
  OVS_DROP_EXPLICIT: ['An Open vSwitch flow drops the packet.', 'Network policies: ovs-appctl ofproto/trace.'],
  OVS_DROP_EXPLICIT_WITH_ERROR: ['An Open vSwitch flow drops the packet with an error.', 'The log of ovs-vswitchd.'],
  OVS_DROP_METER: ['An Open vSwitch meter refused the packet.', 'Rate limits: ovs-ofctl dump-meters.'],
  OVS_DROP_RECURSION_LIMIT: ['Open vSwitch actions are nested too deeply.', 'Recirculation loops: ovs-appctl ofproto/trace.'],
  OVS_DROP_DEFERRED_LIMIT: ['Too many Open vSwitch actions were deferred.', 'Flows that copy a packet many times.'],
  OVS_DROP_FRAG_L2_TOO_LONG: ['The header is too long for Open vSwitch to fragment the packet.', 'MTU of the bridge and its tunnels.'],
  OVS_DROP_FRAG_INVALID_PROTO: ['Open vSwitch can fragment IP packets only.', 'MTU of the bridge and its tunnels.'],
  OVS_DROP_CONNTRACK: ['Connection tracking of Open vSwitch refused the packet.', 'A full conntrack table or zone limit: conntrack -S.'],
  OVS_DROP_IP_TTL: ['The TTL has run out in Open vSwitch.', 'A routing loop.'],
};

/** Explanations that apply to all reasons of a subsystem, by the prefix of the reasons' names. */
const FAMILIES: readonly (readonly [prefix: string, what: string, hint: string])[] = [
  ['RX_DROP_', 'The wireless frame cannot be used.', 'Signal, keys and driver of the wireless device.'],
  [
    'SEG6_',
    'Segment routing refused the packet.',
    'ip -6 route: the seg6local action, and the segments of the sender.',
  ],
];

/** Names of all reasons that have an explanation, in the order of the kernel. */
export const DESCRIBED_REASONS: readonly string[] = Object.keys(REASONS);

/** Explanations for kernel functions that drop packets without a reason, by the name of the function. */
// biome-ignore format: one line per function
const PLACES: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  neigh_invalidate: ['The next hop does not answer ARP or neighbour discovery.', 'Is it up and in the same network? ip neigh.'],
  ndisc_error_report: ['The next hop does not answer neighbour discovery.', 'Is it up and in the same network? ip -6 neigh.'],
  qdisc_reset: ['The queue of the device was emptied.', 'A queue or device that was changed or removed under traffic: tc -s qdisc, ip link.'],
  rtnl_kfree_skbs: ['The queue of the device was emptied.', 'A queue or device that was changed or removed under traffic: tc -s qdisc, ip link.'],
  tun_queue_purge: ['The program behind the device ended with packets unread.', 'Did a VPN or virtual machine stop under traffic?'],
  ip_error: ['A route rejects the packet.', 'ip route: a blackhole, prohibit or unreachable route.'],
  ip6_pkt_drop: ['A route rejects the packet.', 'ip -6 route: a blackhole, prohibit or unreachable route.'],
  dst_discard: ['A blackhole route discarded the packet.', 'ip route: a blackhole route.'],
  dst_discard_out: ['A blackhole route discarded the packet.', 'ip route: a blackhole route.'],
  veth_xdp_rcv_skb: ['An XDP program refused the packet.', 'bpftool net: which one, and its own counters.'],
  do_xdp_generic: ['An XDP program refused the packet.', 'bpftool net: which one, and its own counters.'],
  nf_queue: ['A firewall rule passes packets to a program in user space, and no such program runs.', 'Does the agent of the network policies run? nft list ruleset: queue.'],
  nfqnl_reinject: ['A firewall in user space refused the packet.', 'The network policies, and the log of the agent that enforces them.'],
  __dev_forward_skb: ['The other end of the device is down, or does not accept packets of this size.', 'ip link: state and MTU of both ends.'],
  __dev_forward_skb2: ['The other end of the device is down, or does not accept packets of this size.', 'ip link: state and MTU of both ends.'],
};

/**
 * Explains a drop. If the kernel gave no reason, the explanation depends on the function that freed the packet, such as
 * `ip_error+0x1f/0x2a0`.
 */
export function describeDrop(reason: string, symbol: string): ReasonDescription {
  const name = /^[\w$]+/.exec(symbol)?.[0] ?? '';
  const place = reason === 'NOT_SPECIFIED' || reason === 'unknown' ? PLACES[name] : undefined;
  return place === undefined ? describeReason(reason) : { what: place[0], hint: place[1] };
}

function describe(name: string): readonly [what: string, hint: string] | undefined {
  if (Object.hasOwn(REASONS, name)) return REASONS[name];
  const family = FAMILIES.find(([prefix]) => name.startsWith(prefix));
  return family === undefined ? undefined : [family[1], family[2]];
}

/** Returns whether the reason has an explanation. Reasons that are newer than this table have none. */
export function isDescribed(name: string): boolean {
  return describe(name) !== undefined;
}

/** Explains a reason. The text is generic for reasons that are newer than this table. */
export function describeReason(name: string): ReasonDescription {
  const known = describe(name);
  if (known !== undefined) return { what: known[0], hint: known[1] };
  return {
    what: 'This reason is newer than netsonde.',
    hint: 'The function in `symbol`, and the explanation of the name in the kernel source.',
  };
}
