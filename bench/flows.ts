import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BpfObject, BpfStats } from 'bpf-napi';
import { tcpProgress } from '#bpf/generated/tcpsummary.ts';
import { TcpWalk } from '#sources/sockets/tcp_walk.ts';
import { HostPair, TestNetns } from '../test/support/hosts.ts';
import { only, probesOf, TestKernel } from '../test/support/kernel.ts';
import { buildBpf, buildProgram } from './kernel/build.ts';
import { median, type Row } from './measure.ts';
import { SocketHolder } from './socket_holder.ts';

/** Probes that share the programs that count closed TCP sockets. Together, they enable every part of these programs. */
const ON = { flow: { enabled: true, detail: 'full' }, tcpconnect: { enabled: true }, tcpsummary: { enabled: true } };
const PORT = 7_100;
const CONNECTIONS = 30_000;
const PAIRS = 15;
/** Connection rate, in connections per second, for which the bench computes the share of a CPU. */
const RATE = 10_000;
const WALKS = 30;
const SOCKETS = [10_000, 50_000] as const;
/** Number of sockets in one namespace. It is limited by the local ports, of which each connection takes one. */
const SOCKETS_EACH = 10_000;
/** Hooks of programs that run for each packet. */
const ON_PACKETS = /^(cgroup_skb|tc|xdp|sockops|sk_skb|lwt)|tp_btf\/(netif_|net_dev_)/;

const execute = promisify(execFile);

/** Measures the programs that count TCP sockets when they are closed, and the walk over the open sockets. */
export async function benchFlows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const empty = buildBpf('empty_state.bpf.c', directory);
    return [...(await connections(buildProgram('connects.c', directory), empty)), ...(await walks())];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function connections(program: string, empty: string): Promise<Row[]> {
  await using pair = await HostPair.create();
  pair.a.netns.exec('sysctl -qw net.ipv4.tcp_tw_reuse=1');
  execFileSync('ip', ['netns', 'exec', pair.a.netns.name, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535']);
  const run = async (processes: number) => {
    const to = [pair.addressB.ipv4, PORT, CONNECTIONS, processes].map(String);
    return Number((await execute(program, [pair.a.netns.name, pair.b.netns.name, ...to])).stdout);
  };
  await using agent = await TestKernel.open(only(ON));
  return [
    ...(await programTimes(agent, empty, 1, () => run(1))),
    ...(await programTimes(agent, empty, 2, () => run(2))),
    ...(await withAndWithout(agent, () => run(1))),
    ...attached(agent),
    ...(await maps(agent)),
  ];
}

interface Time {
  readonly runs: number;
  readonly nanoseconds: number;
}

/**
 * Returns the run time of the programs per connection, minus that of the same number of runs of an empty program. Both
 * ends of each connection are on this machine.
 * @param play opens connections in this number of processes and returns the time per connection in nanoseconds
 */
async function programTimes(
  agent: TestKernel,
  file: string,
  processes: number,
  play: () => Promise<number>,
): Promise<Row[]> {
  using _stats = new BpfStats();
  using empty = await BpfObject.open(file);
  await empty.load();
  await empty.attach('empty_state');
  const before = timesOf(agent, empty);
  const each = await play();
  const after = timesOf(agent, empty);
  const bench = `flows: a connection with both ends here, ${processes} at a time`;
  const count = processes * CONNECTIONS;
  const grown = [...after].map(([name, { runs, nanoseconds }]) => ({
    name,
    runs: runs - (before.get(name)?.runs ?? 0),
    nanoseconds: nanoseconds - (before.get(name)?.nanoseconds ?? 0),
  }));
  const base = grown.find(({ name }) => name === 'empty_state');
  const baseNs = base === undefined ? 0 : base.nanoseconds / base.runs;
  const own = grown.filter(({ name, runs }) => name !== 'empty_state' && runs > count);
  const net = own.map(({ nanoseconds, runs }) => nanoseconds / count - (baseNs * runs) / count);
  const sum = net.reduce((total, value) => total + value, 0);
  return [
    { bench, what: 'connections per second', value: 1e9 / each, unit: '' },
    ...own.map(({ name, runs }, index) => ({
      bench,
      what: `${name}, ${(runs / count).toFixed(1)} runs, above an empty one of ${baseNs.toFixed(0)} ns each`,
      value: net[index] ?? Number.NaN,
      unit: 'ns',
    })),
    {
      bench,
      what: `share of a CPU at ${RATE} connections per second`,
      value: (sum * RATE * 100) / 1e9,
      unit: '%',
      bound: { atMost: 2 },
    },
  ];
}

function timesOf(agent: TestKernel, empty: BpfObject): Map<string, Time> {
  const { runs, runNanoseconds } = empty.programInfo('empty_state');
  const own = agent.kernel.probes().flatMap(({ programs }) => programs);
  return new Map([
    ['empty_state', { runs: Number(runs), nanoseconds: Number(runNanoseconds) }],
    ...own.map((one) => [one.name, { runs: one.runs, nanoseconds: one.runSeconds * 1e9 }] as const),
  ]);
}

/** Measures whole connections, alternately with and without the probes. BPF statistics are off. */
async function withAndWithout(agent: TestKernel, play: () => Promise<number>): Promise<Row[]> {
  const times = { without: [] as number[], with: [] as number[] };
  for (let index = 0; index < PAIRS; index++) {
    await agent.kernel.configure({});
    times.without.push(await play());
    await agent.kernel.configure(probesOf(only(ON)));
    times.with.push(await play());
  }
  const bench = `flows: a connection, median of ${PAIRS} pairs`;
  const differences = times.with.map((value, index) => value - (times.without[index] ?? Number.NaN));
  return [
    { bench, what: 'without the probes', value: median(times.without), unit: 'ns' },
    { bench, what: 'with the probes', value: median(times.with), unit: 'ns' },
    { bench, what: 'difference', value: median(differences), unit: 'ns' },
  ];
}

function attached(agent: TestKernel): Row[] {
  const programs = agent.kernel.probes().flatMap((probe) => probe.programs);
  const bench = 'flows: attached programs';
  return [
    ...programs.map(({ name, hook }) => ({ bench, what: `${name} at ${hook}`, value: 1, unit: '' })),
    {
      bench,
      what: 'that run for each packet',
      value: programs.filter(({ hook }) => ON_PACKETS.test(hook)).length,
      unit: '',
      bound: { atMost: 0 },
    },
  ];
}

/** Returns the memory of each map, and the number of rows in use after the connections. */
async function maps(agent: TestKernel): Promise<Row[]> {
  const { named } = await agent.page();
  const bench = 'flows: maps';
  const sizes = (named.get('netsonde_bpf_map_bytes') ?? []).map(({ labels, value }) => ({
    bench,
    what: labels['map'] ?? '',
    value: Number(value) / 1024,
    unit: 'KiB',
  }));
  const rows = named.get('netsonde_flow_rows') ?? [];
  return [...sizes, { bench, what: 'rows of flow_rows', value: Number(rows[0]?.value), unit: '' }];
}

/** Measures the time that the kernel takes to walk the open sockets. */
async function walks(): Promise<Row[]> {
  await using resources = new AsyncDisposableStack();
  const walks = resources.use(new WalkCapture());
  const agent = resources.use(await TestKernel.open(only(ON)));
  const rows: Row[] = [];
  let held = 0;
  for (const sockets of SOCKETS) {
    for (; held < sockets; held += SOCKETS_EACH) {
      const netns = resources.use(new TestNetns());
      netns.ip('link set lo up');
      // The descriptor limit of a single process may be lower than the number of sockets.
      await resources.use(new SocketHolder()).make(netns, SOCKETS_EACH / 2);
    }
    rows.push(...(await walkTimes(agent, walks, sockets)));
  }
  return rows;
}

async function walkTimes(agent: TestKernel, walks: WalkCapture, sockets: number): Promise<Row[]> {
  const totals: number[] = [];
  const longest: number[] = [];
  let counted = 0;
  for (let walk = 0; walk < WALKS; walk++) {
    await agent.page();
    const { view } = walks.progress();
    counted = tcpProgress.sockets(view, 0);
    totals.push(Number(tcpProgress.total(view, 0)) / 1e6);
    longest.push(Number(tcpProgress.longest(view, 0)) / 1e6);
  }
  const bench = `flows: a walk over ${sockets} connections`;
  return [
    { bench, what: 'sockets of the machine', value: counted, unit: '' },
    { bench, what: `in the kernel, median of ${WALKS} walks`, value: median(totals), unit: 'ms' },
    { bench, what: 'longest slice, median', value: median(longest), unit: 'ms', bound: { atMost: 0.5 } },
    { bench, what: 'longest slice of all', value: Math.max(...longest), unit: 'ms' },
  ];
}

/** Captures the walk that an agent opens while this object exists. */
class WalkCapture implements Disposable {
  readonly #open = TcpWalk.open;
  #walk: TcpWalk | undefined;

  constructor() {
    TcpWalk.open = async (...given) => {
      this.#walk = await this.#open.apply(TcpWalk, given);
      return this.#walk;
    };
  }

  /** Returns the struct tcp_progress of the last walk. */
  progress(): { readonly view: DataView } {
    const bytes = new Uint8Array(tcpProgress.SIZE);
    this.#walk?.object.map('tcp_progress_cell').readMapped(bytes, tcpProgress.SIZE);
    return { view: new DataView(bytes.buffer) };
  }

  [Symbol.dispose](): void {
    TcpWalk.open = this.#open;
  }
}
