/**
 * Names of the counters that RDMA drivers provide in sysfs, by driver. A name has the same meaning in every driver, so
 * counters of other drivers are also shown if their names are listed here. The names of devices are not used, because
 * devices can be renamed.
 */

/** Counters defined by the InfiniBand specification. Kernel: drivers/infiniband/core/sysfs.c; include/rdma/ib_pma.h. */
export const STANDARD = [
  'symbol_error',
  'link_error_recovery',
  'link_downed',
  'port_rcv_errors',
  'port_rcv_remote_physical_errors',
  'port_rcv_switch_relay_errors',
  'port_rcv_constraint_errors',
  'port_xmit_discards',
  'port_xmit_constraint_errors',
  'port_xmit_wait',
  'local_link_integrity_errors',
  'excessive_buffer_overrun_errors',
  'VL15_dropped',
  'unicast_rcv_packets',
  'unicast_xmit_packets',
  'multicast_rcv_packets',
  'multicast_xmit_packets',
] as const;

/** Counters of NVIDIA (Mellanox) ConnectX-4 and later. Kernel: drivers/infiniband/hw/mlx5/counters.c. */
export const MLX5 = [
  'rx_write_requests',
  'rx_read_requests',
  'rx_atomic_requests',
  'rx_dct_connect',
  'out_of_buffer',
  'out_of_sequence',
  'duplicate_request',
  'rnr_nak_retry_err',
  'packet_seq_err',
  'implied_nak_seq_err',
  'local_ack_timeout_err',
  'resp_local_length_error',
  'resp_cqe_error',
  'resp_cqe_flush_error',
  'resp_remote_access_errors',
  'req_cqe_error',
  'req_cqe_flush_error',
  'req_remote_invalid_request',
  'req_remote_access_errors',
  'roce_adp_retrans',
  'roce_adp_retrans_to',
  'roce_slow_restart',
  'roce_slow_restart_cnps',
  'roce_slow_restart_trans',
  'rp_cnp_ignored',
  'rp_cnp_handled',
  'np_ecn_marked_roce_packets',
  'np_cnp_sent',
  'rx_icrc_encapsulated',
] as const;

/** Counters of Alibaba's elastic RDMA. Kernel: drivers/infiniband/hw/erdma/erdma_verbs.c. */
const ERDMA = [
  'tx_reqs_cnt',
  'tx_disable_drop_cnt',
  'tx_bps_limit_drop_cnt',
  'tx_pps_limit_drop_cnt',
  'rx_disable_drop_cnt',
  'rx_bps_limit_drop_cnt',
  'rx_pps_limit_drop_cnt',
] as const;

/**
 * Counters of the vendor's own driver for Alibaba's elastic RDMA. It also provides the counters of the kernel's driver,
 * with the prefix `hw_`.
 */
export const ERDMA_VENDOR = [
  'hw_tx_reqs_cnt',
  'hw_disable_drop_cnt',
  'hw_bps_limit_drop_cnt',
  'hw_pps_limit_drop_cnt',
  'hw_rx_disable_drop_cnt',
  'hw_rx_bps_limit_drop_cnt',
  'hw_rx_pps_limit_drop_cnt',
  'accept_total_cnt',
  'accept_success_cnt',
  'accept_failed_cnt',
  'reject_cnt',
  'reject_failed_cnt',
  'connect_total_cnt',
  'connect_success_cnt',
  'connect_failed_cnt',
  'connect_timeout_cnt',
  'connect_reset_cnt',
  'listen_create_cnt',
  'listen_ipv6_cnt',
  'listen_success_cnt',
  'listen_failed_cnt',
  'listen_destroy_cnt',
  'cmdq_submitted_cnt',
  'cmdq_comp_cnt',
  'cmdq_eq_notify_cnt',
  'cmdq_eq_event_cnt',
  'cmdq_cq_armed_cnt',
  'erdma_aeq_event_cnt',
  'erdma_aeq_notify_cnt',
  'verbs_alloc_mr_cnt',
  'verbs_alloc_mr_failed_cnt',
  'verbs_alloc_pd_cnt',
  'verbs_alloc_pd_failed_cnt',
  'verbs_alloc_uctx_cnt',
  'verbs_alloc_uctx_failed_cnt',
  'verbs_create_cq_cnt',
  'verbs_create_cq_failed_cnt',
  'verbs_create_qp_cnt',
  'verbs_create_qp_failed_cnt',
  'verbs_dealloc_pd_cnt',
  'verbs_dealloc_uctx_cnt',
  'verbs_dereg_mr_cnt',
  'verbs_dereg_mr_failed_cnt',
  'verbs_destroy_cq_cnt',
  'verbs_destroy_cq_failed_cnt',
  'verbs_destroy_qp_cnt',
  'verbs_destroy_qp_failed_cnt',
  'verbs_get_dma_mr_cnt',
  'verbs_get_dma_mr_failed_cnt',
  'verbs_reg_usr_mr_cnt',
  'verbs_reg_usr_mr_failed_cnt',
] as const;

/**
 * Counters of soft RoCE in addition to `duplicate_request` and `link_downed`. Kernel:
 * drivers/infiniband/sw/rxe/rxe_hw_counters.c.
 */
const RXE = [
  'out_of_seq_request',
  'rcvd_rnr_err',
  'send_rnr_err',
  'rcvd_seq_err',
  'ack_deferred',
  'retry_exceeded_err',
  'retry_rnr_exceeded_err',
  'completer_retry_err',
  'send_err',
  'rdma_sends',
  'rdma_recvs',
] as const;

export const PORT_COUNTERS = [...STANDARD, ...MLX5, ...ERDMA, ...ERDMA_VENDOR, ...RXE] as const;

export type PortCounter = (typeof PORT_COUNTERS)[number];

const KNOWN: ReadonlySet<string> = new Set(PORT_COUNTERS);

export function isPortCounter(name: string): name is PortCounter {
  return KNOWN.has(name);
}

/**
 * Names of the counters for bytes and packets of a port, in order of preference, with the number of bytes or packets
 * per unit. Standard names without `_64` come last, because their counters may have 32 bits and stop at the maximum.
 * The specification counts data in units of four octets.
 */
export const PORT_TRAFFIC = {
  receivedBytes: { rcvd_bytes: 1, rx_bytes_cnt: 1, hw_rx_bytes_cnt: 1, port_rcv_data_64: 4, port_rcv_data: 4 },
  sentBytes: { sent_bytes: 1, tx_bytes_cnt: 1, hw_tx_bytes_cnt: 1, port_xmit_data_64: 4, port_xmit_data: 4 },
  receivedPackets: {
    rcvd_pkts: 1,
    rx_packets_cnt: 1,
    hw_rx_packets_cnt: 1,
    port_rcv_packets_64: 1,
    port_rcv_packets: 1,
  },
  sentPackets: {
    sent_pkts: 1,
    tx_packets_cnt: 1,
    hw_tx_packets_cnt: 1,
    port_xmit_packets_64: 1,
    port_xmit_packets: 1,
  },
} as const satisfies Record<string, Readonly<Record<string, number>>>;

const TRAFFIC_NAMES: ReadonlySet<string> = new Set(Object.values(PORT_TRAFFIC).flatMap((names) => Object.keys(names)));

/** Returns whether a counter is shown, either under its own name or as the traffic of the port. */
export function isShown(name: string): boolean {
  return KNOWN.has(name) || TRAFFIC_NAMES.has(name);
}
