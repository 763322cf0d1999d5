import * as z from 'zod';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, type LooseEmit } from '#probe/metric.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { DeviceStats } from '#sources/procfs/net_dev.ts';
import type { Sources } from '#sources/sources.ts';
import { NodeDevices, readDevices } from './node_devices.ts';

// Namespaced: yes. net/dev lists the devices of the namespace (kernel: net/core/net-procfs.c, dev_seq_show()).

const DEVICE = { help: 'Network device.', example: 'eth0', max: 16, moves: true } as const;

const counter = { type: 'counter', scope: 'pod', labels: { device: DEVICE } } as const;

const metrics = defineMetrics({
  receivedBytes: {
    ...counter,
    name: 'netsonde_netdev_received_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the device received.',
    source: 'net/dev receive bytes',
    detail: 'core',
  },
  sentBytes: {
    ...counter,
    name: 'netsonde_netdev_sent_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the device sent.',
    source: 'net/dev transmit bytes',
    detail: 'core',
  },
  receivedPackets: {
    ...counter,
    name: 'netsonde_netdev_received_packets_total',
    help: 'Packets that the device received.',
    source: 'net/dev receive packets',
    detail: 'core',
  },
  sentPackets: {
    ...counter,
    name: 'netsonde_netdev_sent_packets_total',
    help: 'Packets that the device sent.',
    source: 'net/dev transmit packets',
    detail: 'core',
  },
  receivedErrors: {
    ...counter,
    name: 'netsonde_netdev_received_errors_total',
    help: 'Bad packets that the device received.',
    source: 'net/dev receive errs',
    detail: 'full',
  },
  sentErrors: {
    ...counter,
    name: 'netsonde_netdev_sent_errors_total',
    help: 'Packets that the device failed to send.',
    source: 'net/dev transmit errs',
    detail: 'full',
  },
  receivedDrops: {
    ...counter,
    name: 'netsonde_netdev_received_drops_total',
    help: 'Packets that were received and dropped at the device, missed ones included.',
    source: 'net/dev receive drop',
    detail: 'core',
  },
  sentDrops: {
    ...counter,
    name: 'netsonde_netdev_sent_drops_total',
    help: 'Packets dropped at the device on their way out.',
    source: 'net/dev transmit drop',
    detail: 'core',
  },
  receivedFifo: {
    ...counter,
    name: 'netsonde_netdev_received_fifo_errors_total',
    help: 'Packets lost because the receive ring of the device overflowed.',
    source: 'net/dev receive fifo',
    detail: 'full',
  },
  sentFifo: {
    ...counter,
    name: 'netsonde_netdev_sent_fifo_errors_total',
    help: 'Packets lost because the transmit ring of the device ran dry or overflowed.',
    source: 'net/dev transmit fifo',
    detail: 'full',
  },
  receivedFrame: {
    ...counter,
    name: 'netsonde_netdev_received_frame_errors_total',
    help: 'Packets received with a wrong length, checksum, alignment or framing.',
    source: 'net/dev receive frame',
    detail: 'full',
  },
  receivedMulticast: {
    ...counter,
    name: 'netsonde_netdev_received_multicast_total',
    help: 'Multicast packets that the device received.',
    source: 'net/dev receive multicast',
    detail: 'full',
  },
  collisions: {
    ...counter,
    name: 'netsonde_netdev_collisions_total',
    help: 'Collisions that the device saw while it sent.',
    source: 'net/dev transmit colls',
    detail: 'full',
  },
  sentCarrier: {
    ...counter,
    name: 'netsonde_netdev_sent_carrier_errors_total',
    help: 'Packets lost because the link was gone, or for another trouble of the line.',
    source: 'net/dev transmit carrier',
    detail: 'full',
  },
});

type Device = keyof typeof metrics & keyof DeviceStats;

const COLUMNS = Object.keys(metrics) as Device[];

interface Options {
  readonly loopback: boolean;
  readonly nodeVeth: boolean;
}

function emitDevice(
  emit: Emit<typeof metrics>,
  entry: NetnsEntry,
  device: string,
  stats: Readonly<Record<Device, Counter>>,
  keep: boolean,
): void {
  const labels = { device };
  const options = { keep };
  for (const column of COLUMNS) {
    if (emit.wants(column)) (emit as LooseEmit)(column, entry.id, stats[column], labels, options);
  }
}

async function collectAll(
  emit: Emit<typeof metrics>,
  sources: Sources,
  nodeDevices: NodeDevices,
  { loopback, nodeVeth }: Options,
  cycle: Cycle,
): Promise<void> {
  const emitAll = (entry: NetnsEntry, device: string, stats: DeviceStats, keep: boolean) => {
    if (loopback || device !== 'lo') emitDevice(emit, entry, device, stats, keep);
  };
  // Linked to another namespace: the other ends of the Pods' devices. Each Pod shows its own.
  const isShown = ({ linkedOutside }: LinkRow) => nodeVeth || !linkedOutside;
  for (const entry of sources.netns.snapshot()) {
    if (entry.isNode) {
      for (const [device, { stats, link }] of nodeDevices.read(entry, isShown, cycle)) {
        const isPhysical = link !== undefined && link.kind === undefined && !link.loopback;
        emitAll(entry, device, stats, isPhysical);
      }
    } else {
      for (const [device, stats] of readDevices(sources, entry, cycle)) emitAll(entry, device, stats, false);
    }
    await cycle.pause();
  }
}

export const netdev = defineProbe({
  name: 'netdev',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary: 'Network devices of each Pod and of the node: bytes, packets, errors, drops. Always worth having.',
  guide: {
    question: 'How much does a Pod send and receive, and do its devices drop packets?',
    when: 'Look here for traffic, and for drops below the IP layer.',
    query:
      'topk(10, sum by (namespace, pod, device) (rate(netsonde_netdev_received_drops_total[5m]) + rate(netsonde_netdev_sent_drops_total[5m])))',
    limits: [
      "The node's ends of the Pods' devices (`veth…`, `cali…`, `lxc…`, `eni…`, netkit: whatever the kernel says is linked to another namespace) are left out, unless `nodeVeth` is on, and so is `lo`, unless `loopback` is.",
      "Of an SR-IOV representor or a port of Open vSwitch the kernel does not tell whose the other side is: it is the node's.",
      'What a driver counts in its own names (`ethtool -S`) is not read.',
    ],
  },
  metrics,
  events: {},
  options: {
    loopback: z.boolean().default(false).describe('Show `lo` as well.'),
    nodeVeth: z.boolean().default(false).describe("Show the node's ends of the Pods' devices as well."),
  },
  requires: {
    capabilities: [],
    kernel:
      "Any: /proc/<pid>/net/dev. Which of the node's devices are ends of Pods' is asked in its namespace: with CAP_SYS_ADMIN where the agent is in another one.",
  },
  open: async (_scope, sources, { options }) => {
    const nodeDevices = new NodeDevices(sources);
    return {
      health: () => ({ reader: 'files', degraded: options.nodeVeth ? [] : nodeDevices.degraded }),
      collect: (emit, cycle) => collectAll(emit, sources, nodeDevices, options, cycle),
    };
  },
});
