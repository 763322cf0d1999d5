import { ERDMA_VENDOR, MLX5, STANDARD } from '#probes/rdma/rdma_counters.ts';
import { type Equivalent, type KubeskoopProbe, type RdmaDriver, same } from './entry.ts';

const RESOURCES = ['cm_id', 'cq', 'ctx', 'mr', 'pd', 'qp', 'srq'];

/** Port counters by kernel driver. KubeSkoop prefixes their names with `kubeskoop_rdma_<driver>_`. */
const COUNTERS: Readonly<Record<RdmaDriver, readonly string[]>> = {
  mlx5: [...STANDARD, ...MLX5].filter((counter) => counter !== 'excessive_buffer_overrun_errors'),
  erdma: ERDMA_VENDOR,
};

const port = (driver: RdmaDriver) => ({ rdma: { driver, perPort: true } }) as const;

/** InfiniBand counts data in 4-byte words. */
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
    'If there are RDMA devices, one series per device and port, with the labels `device`, `type` and `port`. Port counters are those of devices named `mlx5_*` and `erdma_*`.',
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
