import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { ConntrackReader, type ConntrackSources } from '#sources/conntrack/reader.ts';
import { SourceErrors } from '#sources/errors.ts';
import { NetFiles } from '#sources/net_files.ts';
import { NetlinkClient } from '#sources/netlink/client.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { run } from '../test/support/command.ts';
import { TestNetns } from '../test/support/hosts.ts';
import { OBJECTS } from '../test/support/kernel.ts';
import { cpuMs, median, Namespaces, type Row } from './measure.ts';

const NAMESPACES = 110;
const RUNS = 60;
const TABLES = [1, 10_000, 100_000];

const TRACK = 'conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 3600';

/** Enables connection tracking in a namespace, and sends one datagram to each of many addresses and ports. */
const FILL = `
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])):
    try: sender.sendto(b'x', ('127.0.%d.1' % (n // 30000 + 1), 20000 + n % 30000))
    except ConnectionRefusedError: walk
`;

function sourcesOf(netns: NetnsRegistry, bpf: BpfSource): ConntrackSources {
  const errors = new SourceErrors();
  const netlink = new NetlinkClient(new NetFiles('/proc', netns, errors), errors);
  return { paths: DEFAULT_PATHS, netns, netlink, bpf, cpus: cpusOf('/sys'), errors, warn: () => undefined };
}

/** Compares the walk with netlink. Both read the entries and counters of namespaces, all of which track connections. */
async function benchReaders(bpf: BpfSource, registry: NetnsRegistry, scanner: Scanner): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(NAMESPACES, TRACK);
  await scanner.refresh();
  await using walk = await ConntrackReader.open(sourcesOf(registry, bpf));
  await using netlink = await ConntrackReader.open(sourcesOf(registry, new BpfSource('/nonexistent', '/sys')));
  const medianOf = async (reader: ConntrackReader) => {
    const { rows } = await reader.read(freeCycle());
    if (rows.filter(({ entries }) => entries === 1).length < NAMESPACES) throw new Error('not all namespaces track');
    return median(await cpuMs(RUNS, () => reader.read(freeCycle())));
  };
  const walkMs = await medianOf(walk);
  const netlinkMs = await medianOf(netlink);
  const bench = `connection tracking of ${registry.snapshot().length} namespaces`;
  return [
    { bench, what: 'kernel walk, typed rows, CPU (median)', value: walkMs, unit: 'ms', bound: { atMost: 2 } },
    { bench, what: 'netlink, CPU (median)', value: netlinkMs, unit: 'ms' },
    { bench, what: 'netlink : pass', value: netlinkMs / walkMs, unit: 'x' },
  ];
}

/** Measures the time to count entries by protocol and state, for tables of several lengths. */
async function benchStates(bpf: BpfSource, registry: NetnsRegistry, scanner: Scanner): Promise<Row[]> {
  using netns = new TestNetns();
  netns.ip('link set lo up');
  const inside = (...command: string[]) => run('ip', 'netns', 'exec', netns.name, ...command);
  inside('nft', 'add table inet t; add chain inet t o { type filter hook output priority 0; }');
  inside('nft', 'add rule inet t o meta l4proto icmp drop; add rule inet t o ct state new accept');
  for (const name of ['udp_timeout', 'udp_timeout_stream']) {
    inside('sysctl', '-qw', `net.netfilter.nf_conntrack_${name}=3600`);
  }
  await scanner.refresh();
  const place = registry.snapshot().find(({ inum }) => inum === netns.inum);
  if (place === undefined) throw new Error('the namespace was not found');
  await using reader = await ConntrackReader.open(sourcesOf(registry, bpf));
  const rows: Row[] = [];
  for (const entries of TABLES) {
    inside('conntrack', '-F');
    inside('python3', '-c', FILL, String(entries));
    const read = () => reader.states(place, entries, freeCycle());
    const [counted] = (await read()) ?? [];
    const bench = `a table of ${counted?.count.toLocaleString('en')} entries by state`;
    rows.push({ bench, what: 'CPU (median)', value: median(await cpuMs(RUNS / 3, read)), unit: 'ms' });
  }
  return rows;
}

export async function benchConntrack(): Promise<Row[]> {
  const bpf = new BpfSource(OBJECTS, '/sys');
  using kernel = await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined);
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  const scanner = new Scanner(DEFAULT_PATHS, kernel, registry);
  return [...(await benchReaders(bpf, registry, scanner)), ...(await benchStates(bpf, registry, scanner))];
}
