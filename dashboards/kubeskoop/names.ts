import { type Equivalent, type KubeskoopProbe, missing, same } from './entry.ts';
import { RDMA } from './rdma.ts';

/**
 * Every metric of KubeSkoop 1.0 with its equivalent in netsonde. The recording rules, their test and
 * docs/kubeskoop-names.md are generated from this list.
 */

/**
 * Returns an equivalent without the loopback device, which KubeSkoop also omits. netsonde additionally omits the node's
 * ends of Pod devices.
 */
function devices(metric: Equivalent['metric']): Equivalent {
  return same(metric, { without: { device: 'lo' } });
}

function ipv4(metric: Equivalent['metric']): Equivalent {
  return same(metric, { only: { family: ['ipv4'] } });
}

function abort(cause: string): Equivalent {
  return same('netsonde_tcp_aborts_total', { only: { cause: [cause] } });
}

function skippedAck(cause: string): Equivalent {
  return same('netsonde_tcp_acks_skipped_total', { only: { cause: [cause] } });
}

function connections(...states: [string, ...string[]]): Equivalent {
  return same('netsonde_tcp_connections', { only: { state: states } });
}

/**
 * KubeSkoop counts observations above a time. The bucket boundaries of our histograms are powers of two, so none equals
 * KubeSkoop's threshold.
 */
const slowerThan = (metric: `netsonde_${string}`, bound: number) =>
  missing(
    `Use the histogram \`${metric}\`. Observations above ${bound * 1000} ms: \`${metric}_count - ignoring(le) ${metric}_bucket{le="${bound}"}\`.`,
  );
/** KubeSkoop counts packets that took more than 10 ms over all stages together. */
const slowInAStage = (metric: `netsonde_${string}`, event: string) =>
  missing(
    `Use the histogram \`${metric}\`, which has the label \`stage\`. Packets that took longer than 8.192 ms in a stage: \`${metric}_count - ignoring(le) ${metric}_bucket{le="0.008192"}\`. A packet that took more than 10 ms in all stages together causes the event \`${event}\`.`,
  );
const neverCounted = missing('KubeSkoop declares these but never counts them.');

export const KUBESKOOP: readonly KubeskoopProbe[] = [
  {
    probe: 'netdev',
    remark:
      "Sum over all devices except `lo`. On the node, the host ends of the Pods' devices (such as veth pairs) are also excluded; KubeSkoop includes them. If a device disappears, `rate()` sees a counter reset.",
    metrics: {
      kubeskoop_netdev_rxbytes: devices('netsonde_netdev_received_bytes_total'),
      kubeskoop_netdev_rxerrors: devices('netsonde_netdev_received_errors_total'),
      kubeskoop_netdev_rxpackets: devices('netsonde_netdev_received_packets_total'),
      kubeskoop_netdev_rxdropped: devices('netsonde_netdev_received_drops_total'),
      kubeskoop_netdev_txbytes: devices('netsonde_netdev_sent_bytes_total'),
      kubeskoop_netdev_txerrors: devices('netsonde_netdev_sent_errors_total'),
      kubeskoop_netdev_txpackets: devices('netsonde_netdev_sent_packets_total'),
      kubeskoop_netdev_txdropped: devices('netsonde_netdev_sent_drops_total'),
    },
  },
  {
    probe: 'tcp',
    metrics: {
      kubeskoop_tcp_activeopens: same('netsonde_tcp_active_opens_total'),
      kubeskoop_tcp_passiveopens: same('netsonde_tcp_passive_opens_total'),
      kubeskoop_tcp_retranssegs: same('netsonde_tcp_retransmitted_segments_total'),
      kubeskoop_tcp_attemptfails: same('netsonde_tcp_attempt_fails_total'),
      kubeskoop_tcp_estabresets: same('netsonde_tcp_established_resets_total'),
      kubeskoop_tcp_currestab: same('netsonde_tcp_established_connections'),
      kubeskoop_tcp_insegs: same('netsonde_tcp_received_segments_total'),
      kubeskoop_tcp_outsegs: same('netsonde_tcp_sent_segments_total'),
      kubeskoop_tcp_inerrs: same('netsonde_tcp_receive_errors_total'),
      kubeskoop_tcp_outrsts: same('netsonde_tcp_sent_resets_total'),
    },
  },
  {
    probe: 'udp',
    remark: 'IPv4 only, as in KubeSkoop. netsonde\'s own metrics also cover IPv6, with `family="ipv6"`.',
    metrics: {
      kubeskoop_udp_indatagrams: ipv4('netsonde_udp_received_datagrams_total'),
      kubeskoop_udp_noports: ipv4('netsonde_udp_no_port_total'),
      kubeskoop_udp_inerrors: ipv4('netsonde_udp_receive_errors_total'),
      kubeskoop_udp_outdatagrams: ipv4('netsonde_udp_sent_datagrams_total'),
      kubeskoop_udp_rcvbuferrors: ipv4('netsonde_udp_receive_buffer_errors_total'),
      kubeskoop_udp_sndbuferrors: ipv4('netsonde_udp_send_buffer_errors_total'),
      kubeskoop_udp_incsumerrors: ipv4('netsonde_udp_checksum_errors_total'),
      kubeskoop_udp_ignoredmulti: ipv4('netsonde_udp_ignored_multicast_total'),
    },
  },
  {
    probe: 'ip',
    remark: 'IPv4 only, as in KubeSkoop. netsonde\'s own metrics also cover IPv6, with `family="ipv6"`.',
    metrics: {
      kubeskoop_ip_forwarding: same('netsonde_ip_forwarding_enabled', {
        remark: '0 if forwarding is off; KubeSkoop documents 0 but reports 2',
      }),
      kubeskoop_ip_defaultttl: same('netsonde_ip_default_ttl'),
      kubeskoop_ip_inreceives: ipv4('netsonde_ip_received_packets_total'),
      kubeskoop_ip_inhdrerrors: ipv4('netsonde_ip_receive_header_errors_total'),
      kubeskoop_ip_inaddrerrors: ipv4('netsonde_ip_receive_address_errors_total'),
      kubeskoop_ip_forwdatagrams: ipv4('netsonde_ip_forwarded_packets_total'),
      kubeskoop_ip_inunknownprotos: ipv4('netsonde_ip_receive_unknown_protocols_total'),
      kubeskoop_ip_indiscards: ipv4('netsonde_ip_receive_discards_total'),
      kubeskoop_ip_indelivers: ipv4('netsonde_ip_delivered_packets_total'),
      kubeskoop_ip_outrequests: ipv4('netsonde_ip_sent_packets_total'),
      kubeskoop_ip_outdiscards: ipv4('netsonde_ip_send_discards_total'),
      kubeskoop_ip_outnoroutes: ipv4('netsonde_ip_send_no_routes_total'),
      kubeskoop_ip_reasmtimeout: ipv4('netsonde_ip_reassembly_timeouts_total'),
      kubeskoop_ip_reasmreqds: ipv4('netsonde_ip_reassembly_required_total'),
      kubeskoop_ip_reasmoks: ipv4('netsonde_ip_reassembly_succeeded_total'),
      kubeskoop_ip_reasmfails: ipv4('netsonde_ip_reassembly_failures_total'),
      kubeskoop_ip_fragoks: ipv4('netsonde_ip_fragmented_packets_total'),
      kubeskoop_ip_fragfails: ipv4('netsonde_ip_fragmentation_failures_total'),
      kubeskoop_ip_fragcreates: ipv4('netsonde_ip_fragments_generated_total'),
    },
  },
  {
    probe: 'tcpext',
    metrics: {
      kubeskoop_tcpext_listendrops: same('netsonde_tcp_listen_drops_total'),
      kubeskoop_tcpext_listenoverflows: same('netsonde_tcp_listen_overflows_total'),
      kubeskoop_tcpext_tcpsynretrans: same('netsonde_tcp_syn_retransmits_total'),
      kubeskoop_tcpext_tcpfastretrans: same('netsonde_tcp_fast_retransmits_total'),
      kubeskoop_tcpext_tcpretransfail: same('netsonde_tcp_retransmit_failures_total'),
      kubeskoop_tcpext_tcptimeouts: same('netsonde_tcp_timeouts_total'),
      kubeskoop_tcpext_tcpabortonclose: abort('close'),
      kubeskoop_tcpext_tcpabortonmemory: abort('memory'),
      kubeskoop_tcpext_tcpabortontimeout: abort('timeout'),
      kubeskoop_tcpext_tcpabortonlinger: abort('linger'),
      kubeskoop_tcpext_tcpabortondata: abort('data'),
      kubeskoop_tcpext_tcpabortfailed: abort('failed'),
      kubeskoop_tcpext_tcpackskippedsynrecv: skippedAck('syn_recv'),
      kubeskoop_tcpext_tcpackskippedpaws: skippedAck('paws'),
      kubeskoop_tcpext_tcpackskippedseq: skippedAck('seq'),
      kubeskoop_tcpext_tcpackskippedfinwait2: skippedAck('fin_wait2'),
      kubeskoop_tcpext_tcpackskippedtimewait: skippedAck('time_wait'),
      kubeskoop_tcpext_tcpackskippedchallenge: skippedAck('challenge'),
      kubeskoop_tcpext_tcprcvqdrop: same('netsonde_tcp_receive_queue_drops_total'),
      kubeskoop_tcpext_tcpmemorypressures: same('netsonde_tcp_memory_pressures_total'),
      kubeskoop_tcpext_tcpmemorypressureschrono: same('netsonde_tcp_memory_pressure_seconds_total', {
        scale: ['*', 1000],
        remark: 'in milliseconds',
      }),
      kubeskoop_tcpext_pawsactive: same('netsonde_tcp_paws_active_rejects_total'),
      kubeskoop_tcpext_pawsestab: same('netsonde_tcp_paws_established_rejects_total'),
      kubeskoop_tcpext_embryonicrsts: same('netsonde_tcp_embryonic_resets_total'),
      kubeskoop_tcpext_tcpwinprobe: same('netsonde_tcp_window_probes_total'),
      kubeskoop_tcpext_tcpkeepalive: same('netsonde_tcp_keepalives_total'),
      kubeskoop_tcpext_tcpmtupfail: same('netsonde_tcp_mtu_probe_failures_total'),
      kubeskoop_tcpext_tcpmtupsuccess: same('netsonde_tcp_mtu_probe_successes_total'),
      kubeskoop_tcpext_tcpzerowindowdrop: same('netsonde_tcp_zero_window_drops_total'),
      kubeskoop_tcpext_tcpbacklogdrop: same('netsonde_tcp_backlog_drops_total'),
      kubeskoop_tcpext_pfmemallocdrop: same('netsonde_tcp_pfmemalloc_drops_total'),
      kubeskoop_tcpext_tcpwqueuetoobig: same('netsonde_tcp_write_queue_too_big_total'),
    },
  },
  {
    probe: 'tcpsummary',
    metrics: {
      kubeskoop_tcpsummary_tcpestablishedconn: connections('established'),
      kubeskoop_tcpsummary_tcptimewaitconn: connections('time_wait'),
      kubeskoop_tcpsummary_tcpclosewaitconn: connections('close_wait'),
      kubeskoop_tcpsummary_tcpsynsentconn: connections('syn_sent'),
      // KubeSkoop counts the entries of /proc/net/tcp, which shows both states as SYN_RECV (kernel:
      // net/ipv4/tcp_ipv4.c, get_openreq4()).
      kubeskoop_tcpsummary_tcpsynrecvconn: connections('syn_recv', 'new_syn_recv'),
      kubeskoop_tcpsummary_tcptxqueue: same('netsonde_tcp_send_queue_bytes'),
      kubeskoop_tcpsummary_tcprxqueue: same('netsonde_tcp_receive_queue_bytes'),
    },
  },
  {
    probe: 'sock',
    remark: 'KubeSkoop has these metrics only for the node.',
    metrics: {
      kubeskoop_sock_inuse: same('netsonde_tcp_sockets_in_use', { remark: 'also available for Pods' }),
      kubeskoop_sock_orphan: same('netsonde_node_tcp_orphan_sockets'),
      kubeskoop_sock_tw: same('netsonde_tcp_time_wait_sockets', { remark: 'also available for Pods' }),
      kubeskoop_sock_alloc: same('netsonde_node_tcp_allocated_sockets'),
      kubeskoop_sock_mem: same('netsonde_node_tcp_memory_bytes', {
        scale: ['/', 4096],
        remark: 'in pages of 4 KiB, regardless of the page size of the machine',
      }),
    },
  },
  {
    probe: 'softnet',
    remark:
      'Sum over all CPUs, for the node only. KubeSkoop repeats these numbers for every Pod, although they apply to the whole machine.',
    metrics: {
      kubeskoop_softnet_processed: same('netsonde_softnet_processed_packets_total'),
      kubeskoop_softnet_dropped: same('netsonde_softnet_dropped_packets_total'),
    },
  },
  {
    probe: 'ipvs',
    remark: 'Also available for Pods; KubeSkoop has these metrics only for the node.',
    metrics: {
      kubeskoop_ipvs_connections: same('netsonde_ipvs_connections_total'),
      kubeskoop_ipvs_incomingpackets: same('netsonde_ipvs_received_packets_total', {
        remark: 'packets; KubeSkoop shows the bytes here',
      }),
      kubeskoop_ipvs_outgoingpackets: same('netsonde_ipvs_sent_packets_total'),
      kubeskoop_ipvs_incomingbytes: same('netsonde_ipvs_received_bytes_total'),
      kubeskoop_ipvs_outgoingbytes: same('netsonde_ipvs_sent_bytes_total'),
    },
  },
  {
    probe: 'conntrack',
    remark: 'Also available for Pods; KubeSkoop has these metrics only for the node.',
    metrics: {
      kubeskoop_conntrack_found: same('netsonde_conntrack_found_total'),
      kubeskoop_conntrack_invalid: same('netsonde_conntrack_invalid_total'),
      kubeskoop_conntrack_ignore: missing('The kernel has not counted these since 5.10.'),
      kubeskoop_conntrack_insert: same('netsonde_conntrack_inserts_total'),
      kubeskoop_conntrack_insertfailed: same('netsonde_conntrack_insert_failed_total'),
      kubeskoop_conntrack_drop: same('netsonde_conntrack_drops_total'),
      kubeskoop_conntrack_earlydrop: same('netsonde_conntrack_early_drops_total'),
      kubeskoop_conntrack_error: same('netsonde_conntrack_errors_total'),
      kubeskoop_conntrack_searchrestart: same('netsonde_conntrack_search_restarts_total'),
      kubeskoop_conntrack_entries: same('netsonde_conntrack_entries'),
      kubeskoop_conntrack_maxentries: same('netsonde_conntrack_entries_limit'),
    },
  },
  {
    probe: 'qdisc',
    remark:
      'Sum over the root and ingress qdiscs of all devices. KubeSkoop includes only devices named `eth*`, and counts child qdiscs in addition to their roots.',
    metrics: {
      kubeskoop_qdisc_bytes: same('netsonde_qdisc_sent_bytes_total'),
      kubeskoop_qdisc_packets: same('netsonde_qdisc_sent_packets_total'),
      kubeskoop_qdisc_drops: same('netsonde_qdisc_drops_total'),
      kubeskoop_qdisc_qlen: same('netsonde_qdisc_queued_packets'),
      kubeskoop_qdisc_backlog: same('netsonde_qdisc_backlog_bytes'),
      kubeskoop_qdisc_overlimits: same('netsonde_qdisc_overlimits_total'),
    },
  },
  {
    probe: 'fd',
    remark: 'Each process is counted once; KubeSkoop counts it once per thread.',
    metrics: {
      kubeskoop_fd_openfd: same('netsonde_open_file_descriptors'),
      kubeskoop_fd_opensocket: same('netsonde_open_sockets'),
    },
  },
  {
    probe: 'io',
    remark:
      'Each process is counted once, and its I/O remains in the sum after it exits. Neither is true of KubeSkoop.',
    metrics: {
      kubeskoop_io_readsyscall: same('netsonde_io_read_syscalls_total'),
      kubeskoop_io_writesyscall: same('netsonde_io_write_syscalls_total'),
      kubeskoop_io_readbytes: same('netsonde_io_read_bytes_total'),
      kubeskoop_io_writebytes: same('netsonde_io_written_bytes_total'),
    },
  },
  {
    probe: 'packetloss',
    remark:
      'Labelled with the Pod that lost the packet, but without addresses, which are in the event `packet_drop`. Packets that the kernel frees without loss are not counted.',
    metrics: {
      kubeskoop_packetloss_total: same('netsonde_packet_drops_total'),
      kubeskoop_packetloss_netfilter: same('netsonde_packet_drops_total', {
        only: { reason: ['NETFILTER_DROP'] },
        remark: 'since Linux 5.17',
      }),
    },
  },
  {
    probe: 'tcpretrans',
    metrics: {
      kubeskoop_tcpretrans_total: same('netsonde_tcp_retransmits_total', {
        only: { kind: ['rto', 'fast', 'tlp', 'syn'] },
        remark:
          "KubeSkoop's metric has the ends of the connection as labels; netsonde has them in the event `tcp_retransmit`",
      }),
    },
  },
  {
    probe: 'socketlatency',
    metrics: {
      kubeskoop_socketlatency_read1ms: slowerThan('netsonde_socket_read_delay_seconds', 0.001024),
      kubeskoop_socketlatency_read100ms: slowerThan('netsonde_socket_read_delay_seconds', 0.131072),
      kubeskoop_socketlatency_write1ms: slowerThan('netsonde_socket_write_delay_seconds', 0.001024),
      kubeskoop_socketlatency_write100ms: slowerThan('netsonde_socket_write_delay_seconds', 0.131072),
    },
  },
  {
    probe: 'kernellatency',
    metrics: {
      kubeskoop_kernellatency_rxslow: slowInAStage('netsonde_kernel_receive_delay_seconds', 'kernel_receive_slow'),
      kubeskoop_kernellatency_txslow: slowInAStage('netsonde_kernel_send_delay_seconds', 'kernel_send_slow'),
      kubeskoop_kernellatency_rxslow100ms: neverCounted,
      kubeskoop_kernellatency_txslow100ms: neverCounted,
    },
  },
  {
    probe: 'netiftxlat',
    metrics: {
      kubeskoop_netiftxlat_qdiscslow100ms: slowerThan('netsonde_qdisc_delay_seconds', 0.131072),
      kubeskoop_netiftxlat_netdevslow100ms: slowerThan('netsonde_driver_transmit_seconds', 0.131072),
    },
  },
  {
    probe: 'softirq',
    metrics: {
      kubeskoop_softirq_schedslow: slowerThan('netsonde_softirq_wait_seconds', 0.008192),
      kubeskoop_softirq_schedslow100ms: slowerThan('netsonde_softirq_wait_seconds', 0.131072),
      kubeskoop_softirq_excuteslow: slowerThan('netsonde_softirq_run_seconds', 0.008192),
      kubeskoop_softirq_excuteslow100ms: slowerThan('netsonde_softirq_run_seconds', 0.131072),
    },
  },
  {
    probe: 'virtcmdlatency',
    metrics: {
      kubeskoop_virtcmdlatency_latency: slowerThan('netsonde_virtio_command_seconds', 0.008192),
      kubeskoop_virtcmdlatency_latency100ms: slowerThan('netsonde_virtio_command_seconds', 0.131072),
    },
  },
  {
    probe: 'flow',
    metrics: {
      kubeskoop_flow_bytes: same('netsonde_flow_sent_bytes_total', {
        remark:
          'payload that each Pod sends over TCP; KubeSkoop counts packets on one interface, including their headers',
      }),
      kubeskoop_flow_packets: same('netsonde_flow_sent_segments_total', {
        remark: 'segments that each Pod sends over TCP, including retransmissions',
      }),
    },
  },
  RDMA,
];
