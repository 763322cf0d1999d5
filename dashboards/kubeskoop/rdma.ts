import { type Equivalent, type KubeskoopProbe, type RdmaDriver, same } from './entry.ts';

const RESOURCES = ['cm_id', 'cq', 'ctx', 'mr', 'pd', 'qp', 'srq'];

/** Port counters under the names of the kernel's drivers: KubeSkoop puts `kubeskoop_rdma_<driver>_` before them. */
const COUNTERS: Readonly<Record<RdmaDriver, readonly string[]>> = {
  mlx5: [
    'multicast_rcv_packets',
    'unicast_rcv_packets',
    'port_rcv_switch_relay_errors',
    'port_rcv_errors',
    'port_rcv_constraint_errors',
    'local_link_integrity_errors',
    'port_xmit_wait',
    'multicast_xmit_packets',
    'unicast_xmit_packets',
    'port_xmit_discards',
    'port_xmit_constraint_errors',
    'port_rcv_remote_physical_errors',
    'symbol_error',
    'VL15_dropped',
    'link_error_recovery',
    'link_downed',
    'rx_write_requests',
    'rx_read_requests',
    'rx_atomic_requests',
    'out_of_buffer',
    'out_of_sequence',
    'duplicate_request',
    'rnr_nak_retry_err',
    'packet_seq_err',
    'implied_nak_seq_err',
    'local_ack_timeout_err',
    'rx_dct_connect',
    'resp_local_length_error',
    'resp_cqe_error',
    'req_cqe_error',
    'req_remote_invalid_request',
    'req_remote_access_errors',
    'resp_remote_access_errors',
    'resp_cqe_flush_error',
    'req_cqe_flush_error',
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
  ],
  erdma: [
    'accept_failed_cnt',
    'accept_success_cnt',
    'accept_total_cnt',
    'cmdq_comp_cnt',
    'cmdq_cq_armed_cnt',
    'cmdq_eq_event_cnt',
    'cmdq_eq_notify_cnt',
    'cmdq_submitted_cnt',
    'connect_failed_cnt',
    'connect_reset_cnt',
    'connect_success_cnt',
    'connect_timeout_cnt',
    'connect_total_cnt',
    'erdma_aeq_event_cnt',
    'erdma_aeq_notify_cnt',
    'hw_bps_limit_drop_cnt',
    'hw_disable_drop_cnt',
    'hw_pps_limit_drop_cnt',
    'hw_rx_bps_limit_drop_cnt',
    'hw_rx_disable_drop_cnt',
    'hw_rx_pps_limit_drop_cnt',
    'hw_tx_reqs_cnt',
    'listen_create_cnt',
    'listen_destroy_cnt',
    'listen_failed_cnt',
    'listen_ipv6_cnt',
    'listen_success_cnt',
    'reject_cnt',
    'reject_failed_cnt',
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
  ],
};

const port = (driver: RdmaDriver) => ({ rdma: { driver, perPort: true } }) as const;

/** InfiniBand counts data in words of 4 bytes. */
const words = { ...port('mlx5'), scale: ['/', 4], remark: 'in words of 4 bytes' } as const;

function counters(driver: RdmaDriver): [string, Equivalent][] {
  return COUNTERS[driver].map((counter) => [
    `kubeskoop_rdma_${driver}_${counter}`,
    same('netsonde_rdma_port_counters_total', { only: { counter: [counter] }, ...port(driver) }),
  ]);
}

function resources(): [string, Equivalent][] {
  return RESOURCES.map((resource) => [
    `kubeskoop_rdma_${resource}`,
    same('netsonde_rdma_resources', { only: { resource: [resource] }, rdma: { perPort: false } }),
  ]);
}

export const RDMA: KubeskoopProbe = {
  probe: 'rdma',
  remark:
    'Where there are RDMA devices: by device and port, with the labels `device`, `type` and `port`. Port counters are those of devices called `mlx5_*` and `erdma_*`.',
  metrics: {
    ...Object.fromEntries(resources()),
    kubeskoop_rdma_mlx5_port_rcv_data: same('netsonde_rdma_port_received_bytes_total', words),
    kubeskoop_rdma_mlx5_port_rcv_packets: same('netsonde_rdma_port_received_packets_total', port('mlx5')),
    kubeskoop_rdma_mlx5_port_xmit_data: same('netsonde_rdma_port_sent_bytes_total', words),
    kubeskoop_rdma_mlx5_port_xmit_packets: same('netsonde_rdma_port_sent_packets_total', port('mlx5')),
    kubeskoop_rdma_mlx5_port_xmit_packets_64: same('netsonde_rdma_port_sent_packets_total', port('mlx5')),
    kubeskoop_rdma_erdma_hw_rx_bytes_cnt: same('netsonde_rdma_port_received_bytes_total', port('erdma')),
    kubeskoop_rdma_erdma_hw_rx_packets_cnt: same('netsonde_rdma_port_received_packets_total', port('erdma')),
    kubeskoop_rdma_erdma_hw_tx_bytes_cnt: same('netsonde_rdma_port_sent_bytes_total', port('erdma')),
    kubeskoop_rdma_erdma_hw_tx_packets_cnt: same('netsonde_rdma_port_sent_packets_total', port('erdma')),
    ...Object.fromEntries(counters('mlx5')),
    ...Object.fromEntries(counters('erdma')),
  },
};
