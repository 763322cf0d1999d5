import * as z from 'zod';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, type EmitOptions, type LooseEmit } from '#probe/metric.ts';
import type { DeviceRows } from '#sources/devices/rows.ts';
import { deviceSource } from '#sources/devices/source.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { NetnsEntry } from '#sources/netns.ts';
import type { DeviceColumn, DeviceStats } from '#sources/procfs/net_dev.ts';
import type { Sources } from '#sources/sources.ts';
import { NodeDevices, readDevices } from './node_devices.ts';
import { walkedOfNode, walkedOfPod } from './walked.ts';

// These metrics are per network namespace. Each namespace has its own list of devices (kernel: struct net,
// dev_base_head), which is shown in net/dev (net/core/net-procfs.c, dev_seq_show()).

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
    help: 'Packets received with errors.',
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
    help: 'Received packets dropped at the device, including missed packets.',
    source: 'net/dev receive drop',
    detail: 'core',
  },
  sentDrops: {
    ...counter,
    name: 'netsonde_netdev_sent_drops_total',
    help: 'Outgoing packets dropped at the device.',
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
    help: 'Collisions detected while sending.',
    source: 'net/dev transmit colls',
    detail: 'full',
  },
  sentCarrier: {
    ...counter,
    name: 'netsonde_netdev_sent_carrier_errors_total',
    help: 'Packets lost because the link was down or had another carrier problem.',
    source: 'net/dev transmit carrier',
    detail: 'full',
  },
});

const COLUMNS = Object.keys(metrics) as DeviceColumn[];

interface Options {
  readonly loopback: boolean;
  readonly nodeVeth: boolean;
}

interface Collecting {
  readonly emit: Emit<typeof metrics>;
  /** Columns that are shown at the configured detail. */
  readonly columns: readonly DeviceColumn[];
  readonly sources: Sources;
  readonly options: Options;
  readonly nodeDevices: NodeDevices;
  readonly cycle: Cycle;
}

function emitDevice(
  { emit, columns }: Collecting,
  entry: NetnsEntry,
  device: string,
  options: EmitOptions,
  value: (column: DeviceColumn) => Counter,
): void {
  const labels = { device };
  for (const column of columns) (emit as LooseEmit)(column, entry.id, value(column), labels, options);
}

/** Emits the devices that the walk has read. Returns false if it could not read all devices to be shown. */
function emitWalked(collecting: Collecting, entry: NetnsEntry, rows: DeviceRows): boolean {
  const { sources, options, cycle } = collecting;
  const shown = entry.isNode
    ? walkedOfNode(rows, entry, options, sources.route, cycle)
    : walkedOfPod(rows, entry, options);
  if (shown === undefined) return false;
  for (const { row, stats } of shown) {
    const value =
      stats === undefined ? (column: DeviceColumn) => rows.value(row, column) : (column: DeviceColumn) => stats[column];
    const keep = entry.isNode && rows.isPhysical(row);
    emitDevice(collecting, entry, rows.name(row), { keep, identity: rows.ifindex(row) }, value);
  }
  return true;
}

/**
 * Emits the devices in net/dev.
 * @param numbers interface indices of the devices by name; undefined if the walk did not visit the namespace
 */
function emitFromFiles(
  collecting: Collecting,
  entry: NetnsEntry,
  numbers: ReadonlyMap<string, number> | undefined,
): void {
  const { sources, options, nodeDevices, cycle } = collecting;
  const emitStats = (device: string, stats: DeviceStats, emitted: EmitOptions) => {
    if (options.loopback || device !== 'lo') emitDevice(collecting, entry, device, emitted, (column) => stats[column]);
  };
  if (!entry.isNode) {
    for (const [device, stats] of readDevices(sources, entry, cycle)) {
      const identity = numbers?.get(device);
      // A name without an index appeared after the walk. Only the next walk can show to which device it belongs.
      if (numbers === undefined || identity !== undefined) emitStats(device, stats, { identity });
    }
    return;
  }
  // A device that is linked to another namespace is the node's end of a Pod's device. The Pod shows its own end.
  const isShown = ({ linkedOutside }: LinkRow) => options.nodeVeth || !linkedOutside;
  for (const [device, { stats, link }] of nodeDevices.read(entry, isShown, cycle)) {
    const keep = link !== undefined && link.kind === undefined && !link.loopback;
    emitStats(device, stats, { keep, identity: link?.ifindex });
  }
}

/** Returns the interface indices by name. A renamed device keeps its index. */
function numbersOf(rows: DeviceRows, { id }: NetnsEntry): ReadonlyMap<string, number> | undefined {
  const all = rows.of(id);
  return all.length === 0 ? undefined : new Map(all.map((row) => [rows.name(row), rows.ifindex(row)]));
}

async function collectAll(collecting: Collecting, rows: DeviceRows | undefined): Promise<void> {
  for (const entry of collecting.sources.netns.snapshot()) {
    const isWalked = rows !== undefined && emitWalked(collecting, entry, rows);
    if (!isWalked) emitFromFiles(collecting, entry, rows && numbersOf(rows, entry));
    else if (entry.isNode) collecting.nodeDevices.forget();
    await collecting.cycle.pause();
  }
}

export const netdev = defineProbe({
  name: 'netdev',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary: 'Network devices of each Pod and of the node: bytes, packets, errors and drops. Recommended everywhere.',
  guide: {
    question: 'How much does a Pod send and receive, and do its devices drop packets?',
    when: 'Look here for traffic and for drops below the IP layer.',
    query:
      'topk(10, sum by (namespace, pod, device) (rate(netsonde_netdev_received_drops_total[5m]) + rate(netsonde_netdev_sent_drops_total[5m])))',
    limits: [
      "The node's ends of Pod devices (`veth…`, `cali…`, `lxc…`, `eni…`, netkit) are shown only with `nodeVeth`. They are recognized by the kernel reporting a link to another namespace. `lo` is shown only with `loopback`.",
      'SR-IOV representors and Open vSwitch ports are attributed to the node because the kernel does not report who owns the other side.',
      "A driver's own counters (`ethtool -S`) are not read.",
    ],
  },
  metrics,
  events: {},
  options: {
    loopback: z.boolean().default(false).describe('Also show `lo`.'),
    nodeVeth: z.boolean().default(false).describe("Also show the node's ends of Pod devices."),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      "Any. Since 6.0 and with BTF, one walk in the kernel reads the devices of all namespaces. Kinds of devices that the walk does not support are read by RTM_GETSTATS on the node and from /proc/<pid>/net/dev elsewhere. Some properties of the node's devices can only be queried in the node's network namespace, which needs CAP_SYS_ADMIN if the agent is in another one.",
  },
  measured: {
    collect: { ms: 0.4, withoutMs: 2.4, note: 'the first figure is derived from the ratio of `bench -- netdev`' },
  },
  open: async (scope, sources, { options }) => {
    const nodeDevices = new NodeDevices(sources);
    const devices = deviceSource(sources, scope.warn);
    scope.own(await devices.use());
    let refused: string | undefined;
    return {
      health: () => {
        const { reader, note, degraded } = devices.health;
        return {
          reader: reader === 'pass' ? 'pass, netlink' : reader,
          note: note ?? refused,
          degraded: [...degraded, ...(options.nodeVeth ? [] : nodeDevices.degraded)],
        };
      },
      collect: async (emit, cycle) => {
        const rows = await devices.read(cycle);
        refused = rows === undefined ? undefined : whyRefused(rows.refused);
        const columns = COLUMNS.filter((column) => emit.wants(column));
        await collectAll({ emit, columns, sources, options, nodeDevices, cycle }, rows);
      },
    };
  },
});

/** Describes the kinds of devices that the walk cannot read because their layout is different in this kernel. */
function whyRefused(refused: ReadonlyMap<string, string>): string | undefined {
  if (refused.size === 0) return undefined;
  const reasons = [...refused].map(([kind, reason]) => `${kind}: ${reason}`);
  return `namespaces with devices of these kinds are read from files: ${reasons.join('; ')}`;
}
