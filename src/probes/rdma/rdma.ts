import { multiplyCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { defineProbe, type ProbeContext } from '#probe/contract.ts';
import { defineMetrics, type Emit, NODE } from '#probe/metric.ts';
import { RDMA_RESOURCES } from '#sources/netlink/rdma.ts';
import { describeMissing, missingCapabilities } from '#sources/procfs/capabilities.ts';
import type { Sources } from '#sources/sources.ts';
import { type PortCounters, rdmaDevices, rdmaPorts, readPortCounters } from '#sources/sysfs/infiniband.ts';
import { isPortCounter, isShown, PORT_COUNTERS, PORT_TRAFFIC } from './rdma_counters.ts';

// These metrics are not per network namespace. The counters of a device include the traffic of all its users and cannot
// be divided among Pods, so they are node metrics. A device that was moved into a Pod's namespace (rdma system set
// netns exclusive) no longer belongs to the node, and is not shown.

const DEVICE = { help: 'RDMA device.', example: 'mlx5_0', max: 64 } as const;
const PORT = { help: 'Port number, starting at 1.', example: '1', max: 16 } as const;
const RESOURCES = ['qp', 'cq', 'mr', 'pd', 'cm_id', 'ctx', 'srq'] as const;

const ofPort = { type: 'counter', scope: 'node', labels: { device: DEVICE, port: PORT }, detail: 'core' } as const;
const ofDevice = { type: 'gauge', scope: 'node', detail: 'core' } as const;

const metrics = defineMetrics({
  receivedBytes: {
    ...ofPort,
    name: 'netsonde_rdma_port_received_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the RDMA port received.',
    source: 'sysfs counters/port_rcv_data (units of 4 octets), hw_counters of the driver',
  },
  sentBytes: {
    ...ofPort,
    name: 'netsonde_rdma_port_sent_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the RDMA port sent.',
    source: 'sysfs counters/port_xmit_data (units of 4 octets), hw_counters of the driver',
  },
  receivedPackets: {
    ...ofPort,
    name: 'netsonde_rdma_port_received_packets_total',
    help: 'Packets that the RDMA port received.',
    source: 'sysfs counters/port_rcv_packets, hw_counters of the driver',
  },
  sentPackets: {
    ...ofPort,
    name: 'netsonde_rdma_port_sent_packets_total',
    help: 'Packets that the RDMA port sent.',
    source: 'sysfs counters/port_xmit_packets, hw_counters of the driver',
  },
  counters: {
    ...ofPort,
    name: 'netsonde_rdma_port_counters_total',
    help: 'Errors, discards and other events on the RDMA port, by kernel counter name.',
    source: 'sysfs counters, hw_counters',
    labels: { device: DEVICE, port: PORT, counter: { help: 'Counter name in sysfs.', values: PORT_COUNTERS } },
  },
  resources: {
    ...ofDevice,
    name: 'netsonde_rdma_resources',
    help: 'Objects that currently exist on the RDMA device, created by processes or by the kernel.',
    source: 'RDMA_NLDEV_CMD_RES_GET RDMA_NLDEV_ATTR_RES_SUMMARY',
    labels: {
      device: DEVICE,
      resource: {
        help: 'Kind of object, such as a queue pair (qp), completion queue (cq) or memory region (mr).',
        values: RESOURCES,
      },
    },
  },
  unknown: {
    ...ofDevice,
    name: 'netsonde_rdma_unknown_names',
    help: 'Counters and object kinds of the RDMA device that are not shown because netsonde does not know their names.',
    source: 'sysfs counters, hw_counters; RDMA_NLDEV_CMD_RES_GET',
    labels: { device: DEVICE },
  },
});

type RdmaEmit = Emit<typeof metrics>;

const TRAFFIC = (Object.keys(PORT_TRAFFIC) as (keyof typeof PORT_TRAFFIC)[]).map((metric) => ({
  metric,
  names: Object.entries(PORT_TRAFFIC[metric]),
}));

function emitPort(emit: RdmaEmit, device: string, port: string, values: PortCounters['values']): void {
  const labels = { device, port };
  for (const { metric, names } of TRAFFIC) {
    // The same name is always used, even if its file cannot be read at the moment. The values under other names differ
    // slightly, so the counter could decrease.
    const best = names.find(([name]) => values.has(name));
    const value = best === undefined ? undefined : values.get(best[0]);
    if (best !== undefined && value !== undefined) emit(metric, NODE, multiplyCounter(value, best[1]), labels);
  }
  for (const [name, value] of values) {
    if (value !== undefined && isPortCounter(name)) emit('counters', NODE, value, { ...labels, counter: name });
  }
}

/** Collects the counters in sysfs. Returns the number of unknown counters by device. */
async function collectPorts(
  emit: RdmaEmit,
  { paths, errors }: ProbeContext,
  devices: readonly string[],
  cycle: Cycle,
): Promise<Map<string, number>> {
  const unknown = new Map<string, number>();
  for (const device of devices) {
    const names = new Set<string>();
    for (const port of rdmaPorts(paths.sys, device)) {
      const { values, others } = readPortCounters(paths.sys, device, port, isShown, errors);
      emitPort(emit, device, port, values);
      for (const name of others) names.add(name);
      await cycle.pause();
    }
    unknown.set(device, names.size);
  }
  return unknown;
}

/**
 * Collects the numbers of objects. Adds the number of unknown kinds to `unknown`. Returns whether the kernel responded.
 */
function collectResources(
  emit: RdmaEmit,
  { netns, netlink }: Sources,
  unknown: Map<string, number>,
  cycle: Cycle,
): boolean {
  const rows = netns.node === undefined ? undefined : netlink.ask(netns.node, RDMA_RESOURCES, cycle);
  for (const { device, resource, count } of rows ?? []) {
    const known = RESOURCES.find((name) => name === resource);
    if (known === undefined) unknown.set(device, (unknown.get(device) ?? 0) + 1);
    else emit('resources', NODE, count, { device, resource: known });
  }
  return rows !== undefined;
}

export const rdma = defineProbe({
  name: 'rdma',
  kind: 'procfs',
  cost: 'medium',
  enabledByDefault: false,
  summary: 'RDMA devices of the node: traffic, errors, congestion and objects in use. Recommended if Pods use RDMA.',
  guide: {
    question: 'Do the RDMA devices of the node carry traffic, and do they have errors or congestion?',
    when: 'Enable it on nodes whose Pods use RDMA.',
    query: 'topk(10, rate(netsonde_rdma_port_counters_total[5m])) > 0',
    limits: [
      'All values are for the node because the counters of a device include all of its users.',
      'A device that was moved into the namespace of a Pod is not shown.',
      'Counters with names that netsonde does not know are not shown, but are counted in `netsonde_rdma_unknown_names`.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: [],
    kernel:
      "RDMA (module ib_core); devices may be added later. Objects in use are queried in the node's network namespace, which needs CAP_SYS_ADMIN if the agent is in another one.",
    module: 'ib_core',
  },
  measured: {
    note: 'Opens one file per counter of a port. A port with 50 counters takes 0.37 ms with the files of the test; real hardware adds the time of its firmware.',
  },
  open: async (scope, sources) => {
    let hasResources = true;
    return {
      health: () => {
        const { sys } = scope.paths;
        const noDevice = rdmaDevices(sys).length === 0 ? [`no RDMA device found in ${sys}/class/infiniband`] : [];
        const missing = describeMissing(missingCapabilities(['CAP_SYS_ADMIN']));
        const noResources = hasResources
          ? []
          : [`the kernel does not report the objects in use over netlink${missing === '' ? '' : ` (${missing})`}`];
        return { reader: 'files, netlink', degraded: [...noDevice, ...noResources] };
      },
      collect: async (emit, cycle) => {
        const devices = rdmaDevices(scope.paths.sys);
        if (devices.length === 0) return;
        const unknown = await collectPorts(emit, scope, devices, cycle);
        hasResources = collectResources(emit, sources, unknown, cycle);
        for (const [device, count] of unknown) emit('unknown', NODE, count, { device });
      },
    };
  },
});
