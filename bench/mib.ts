import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { MibFiles } from '#sources/mib/files.ts';
import type { MibSnapshot } from '#sources/mib/snapshot.ts';
import type { MibTable } from '#sources/mib/tables.ts';
import { MibWalk } from '#sources/mib/walk.ts';
import { NetFiles } from '#sources/net_files.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseSnmp } from '#sources/procfs/snmp.ts';
import { OBJECTS } from '../test/support/kernel.ts';
import { cpuMs, median, Namespaces, type Row } from './measure.ts';

const NAMESPACES = 250;
const RUNS = 60;

function decode(snapshot: MibSnapshot, fields: readonly { table: MibTable; field: string }[]): number {
  const columns = fields.flatMap(({ table, field }) => snapshot.column(table, field) ?? []);
  let sum = 0;
  for (let row = 0; row < snapshot.ids.length; row++) {
    for (const column of columns) sum += Number(snapshot.value(row, column) ?? 0);
  }
  return sum;
}

function fieldsOf(tables: readonly MibTable[]): { table: MibTable; field: string }[] {
  const files = new Map([
    ...parseSnmp(readText('/proc/self/net/snmp') ?? '', () => undefined),
    ...parseSnmp(readText('/proc/self/net/netstat') ?? '', () => undefined),
  ]);
  return tables.flatMap((table) =>
    [...(files.get(table === 'Udp6' ? 'Udp' : table)?.keys() ?? [])].map((field) => ({ table, field })),
  );
}

/** Compares the kernel walk with reading files, for the counters of all namespaces. */
export async function benchMib(): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(NAMESPACES);
  const bpf = new BpfSource(OBJECTS, '/sys');
  using kernel = await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined);
  using walk = await MibWalk.open(bpf, cpusOf('/sys'));
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  await new Scanner(DEFAULT_PATHS, kernel, registry).refresh();
  const files = new MibFiles(registry, new NetFiles('/proc', registry, new SourceErrors()));
  const tables: readonly MibTable[] = ['Tcp', 'TcpExt', 'Udp', 'Udp6'];
  const fields = fieldsOf(tables);
  const readWalk = async () => decode(await walk.read(freeCycle()), fields);
  const readFiles = async () => decode(await files.read(new Set(tables), freeCycle()), fields);
  await cpuMs(20, readWalk);
  await cpuMs(5, readFiles);
  const walkMs = median(await cpuMs(RUNS, readWalk));
  const rawMs = median(await cpuMs(RUNS, async () => walk.read(freeCycle())));
  const filesMs = median(await cpuMs(RUNS / 4, readFiles));
  const bench = `counters of ${registry.snapshot().length} namespaces, ${fields.length} fields`;
  return [
    { bench, what: 'kernel walk, typed rows, CPU (median)', value: walkMs, unit: 'ms', bound: { atMost: 2 } },
    { bench, what: 'kernel walk alone, CPU (median)', value: rawMs, unit: 'ms' },
    { bench, what: 'files, CPU (median)', value: filesMs, unit: 'ms' },
    { bench, what: 'files : pass', value: filesMs / walkMs, unit: 'x' },
  ];
}
