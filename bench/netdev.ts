import { setTimeout as wait } from 'node:timers/promises';
import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { DevicesWalk } from '#sources/devices/walk.ts';
import { SourceErrors } from '#sources/errors.ts';
import { NetFiles } from '#sources/net_files.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { type DeviceColumn, parseNetDev } from '#sources/procfs/net_dev.ts';
import { OBJECTS } from '../test/support/kernel.ts';
import { cpuMs, median, Namespaces, type Row } from './measure.ts';

const NAMESPACES = 110;
const HOT_RUNS = 60;
const COLD_RUNS = 12;
/**
 * Size of a buffer that does not fit into the CPU's caches, and duration of a pause in which other processes use the
 * caches.
 */
const COLD_BYTES = 64 * 1024 * 1024;
const COLD_MS = 700;

/** Columns that are read with `detail: core`. */
const COLUMNS: readonly DeviceColumn[] = [
  'receivedBytes',
  'sentBytes',
  'receivedPackets',
  'sentPackets',
  'receivedDrops',
  'sentDrops',
];

/**
 * Compares the walk over the devices of all namespaces with the files of /proc. Each namespace has a loopback device
 * and both ends of a veth pair.
 */
export async function benchNetdev(): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(
    NAMESPACES,
    'ip link set lo up; ip link add name near type veth peer name far; ip link set near up; ip link set far up',
  );
  const bpf = new BpfSource(OBJECTS, '/sys');
  using kernel = await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined);
  using walk = await DevicesWalk.open(bpf, cpusOf('/sys'));
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  await new Scanner(DEFAULT_PATHS, kernel, registry).refresh();
  const files = new NetFiles('/proc', registry, new SourceErrors());
  let devices = 0;
  const byWalk = async () => {
    const rows = await walk.read(freeCycle());
    devices = rows.count;
    let sum = 0;
    for (const { id } of registry.snapshot()) {
      for (const row of rows.of(id)) {
        sum += rows.name(row).length;
        for (const column of COLUMNS) sum += Number(rows.value(row, column));
      }
    }
    return sum;
  };
  const byFiles = () => {
    const cycle = freeCycle();
    let sum = 0;
    for (const entry of registry.snapshot()) {
      for (const [name, stats] of files.parse(entry, 'net/dev', cycle, parseNetDev) ?? []) {
        sum += name.length;
        for (const column of COLUMNS) sum += Number(stats[column]);
      }
    }
    return sum;
  };
  const hot = await alternate(HOT_RUNS, [byWalk, byFiles], async () => undefined);
  const other = new Uint8Array(COLD_BYTES);
  const cold = await alternate(COLD_RUNS, [byWalk, byFiles], async () => {
    await wait(COLD_MS);
    other.fill(1);
  });
  const { calls, ns, longestNs } = walk.effort;
  const bench = `${devices} devices in ${registry.snapshot().length} namespaces`;
  const row = (what: string, value: number, unit = 'ms'): Row => ({ bench, what, value, unit });
  return [
    row('pass, CPU, hot (median)', hot[0]),
    row('files, CPU, hot (median)', hot[1]),
    row('pass, CPU, cold (median)', cold[0]),
    row('files, CPU, cold (median)', cold[1]),
    row('files : walk, hot', hot[1] / hot[0], 'x'),
    row('files : walk, cold', cold[1] / cold[0], 'x'),
    row(`in the kernel, a call (mean of ${calls})`, ns / calls / 1e6),
    row('in the kernel, the longest call, waiting for the CPU included', longestNs / 1e6),
  ];
}

/** Runs both readers alternately, and returns the median of each. */
async function alternate(
  runs: number,
  [first, second]: readonly [() => unknown, () => unknown],
  before: () => Promise<void>,
): Promise<readonly [number, number]> {
  const times: [number[], number[]] = [[], []];
  await cpuMs(3, first);
  await cpuMs(3, second);
  for (let run = 0; run < runs; run++) {
    await before();
    times[0].push(...(await cpuMs(1, first)));
    await before();
    times[1].push(...(await cpuMs(1, second)));
  }
  return [median(times[0]), median(times[1])];
}
