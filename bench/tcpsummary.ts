import { tcpProgress } from '#bpf/generated/tcpsummary.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import { Scope } from '#collectors/scope.ts';
import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import type { ProbeContext } from '#probe/contract.ts';
import { RetainedStates } from '#probe/retained.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { NetFiles } from '#sources/net_files.ts';
import { NetlinkClient } from '#sources/netlink/client.ts';
import { TcpDiag } from '#sources/sockets/diag.ts';
import { socketSource } from '#sources/sockets/source.ts';
import { TcpWalk } from '#sources/sockets/tcp_walk.ts';
import type { Sources } from '#sources/sources.ts';
import { TestNetns } from '../test/support/hosts.ts';
import { OBJECTS } from '../test/support/kernel.ts';
import { UNOWNED } from '../test/support/owners.ts';
import { cpuMs, median, type Row } from './measure.ts';
import { SocketHolder } from './socket_holder.ts';

const NAMESPACES = 110;
const CONNECTIONS = 25;
const MANY = 5_000;
const TIME_WAIT = 100_000;
const RUNS = 60;

/** The parts of the agent that are measured. */
class Bench {
  readonly #collect: () => Promise<void>;
  readonly #walk: TcpWalk;
  readonly #diag: TcpDiag;

  constructor(collect: () => Promise<void>, walk: TcpWalk, diag: TcpDiag) {
    this.#collect = collect;
    this.#walk = walk;
    this.#diag = diag;
  }

  async measure(bench: string, bounds: { collectMs?: number }): Promise<Row[]> {
    await cpuMs(200, this.#collect);
    const collectMs = median(await cpuMs(RUNS, this.#collect));
    const { sockets, walkMs, longestMs } = await this.#walks();
    const diagMs = median(await cpuMs(5, () => this.#diag.read(freeCycle())));
    const bound = bounds.collectMs === undefined ? {} : { bound: { atMost: bounds.collectMs } };
    return [
      { bench, what: 'sockets of the machine', value: sockets, unit: '' },
      { bench, what: 'collected, CPU (median)', value: collectMs, unit: 'ms', ...bound },
      { bench, what: 'in the kernel (median)', value: walkMs, unit: 'ms' },
      {
        bench,
        what: `longest call in the kernel, of ${RUNS} walks`,
        value: longestMs,
        unit: 'ms',
        bound: { atMost: 1 },
      },
      { bench, what: 'SOCK_DIAG in each namespace, CPU (median)', value: diagMs, unit: 'ms' },
      { bench, what: 'SOCK_DIAG : walk', value: diagMs / collectMs, unit: 'x' },
    ];
  }

  /** Runs the walk repeatedly, and reads the times that its BPF program recorded. */
  async #walks(): Promise<{ sockets: number; walkMs: number; longestMs: number }> {
    const progress = new Uint8Array(tcpProgress.SIZE);
    const view = new DataView(progress.buffer);
    const totals: number[] = [];
    let longestNs = 0;
    for (let run = 0; run < RUNS; run++) {
      await this.#walk.read(freeCycle());
      this.#walk.object.map('tcp_progress_cell').readMapped(progress, tcpProgress.SIZE);
      totals.push(Number(tcpProgress.total(view, 0)) / 1e6);
      longestNs = Math.max(longestNs, Number(tcpProgress.longest(view, 0)));
    }
    return { sockets: tcpProgress.sockets(view, 0), walkMs: median(totals), longestMs: longestNs / 1e6 };
  }
}

/** Compares one walk over the sockets of many namespaces with SOCK_DIAG in each namespace. */
export async function benchTcpsummary(): Promise<Row[]> {
  await using resources = new AsyncDisposableStack();
  const namespaces = Array.from({ length: NAMESPACES + 2 }, () => resources.use(new TestNetns()));
  for (const netns of namespaces) netns.ip('link set lo up');
  const [crowded, closing, ...usual] = namespaces;
  if (crowded === undefined || closing === undefined) throw new Error('no namespaces');
  const holder = resources.use(new SocketHolder());
  const bench = await open(resources);
  const rows: Row[] = [];
  for (const netns of usual) await holder.make(netns, CONNECTIONS);
  rows.push(...(await bench.measure(`${NAMESPACES} namespaces of ${2 * CONNECTIONS} sockets`, { collectMs: 2 })));
  await holder.make(crowded, MANY);
  rows.push(...(await bench.measure(`and ${2 * MANY} sockets in one more`, { collectMs: 5 })));
  // This setting must be off, because the kernel otherwise reuses ports in TIME_WAIT for connections over loopback.
  closing.exec('sysctl -qw net.ipv4.tcp_tw_reuse=0');
  await holder.make(closing, 0, TIME_WAIT);
  rows.push(...(await bench.measure(`and ${TIME_WAIT} sockets in TIME_WAIT in one more`, {})));
  return rows;
}

async function open(resources: AsyncDisposableStack): Promise<Bench> {
  const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
  const kernel = resources.use(await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined));
  const aggregator = new Aggregator([tcpsummary.name], () => false);
  aggregator.addProbe(tcpsummary.name, tcpsummary.metrics, 'core');
  const netns = new NetnsRegistry(DEFAULT_PATHS, (entities) => aggregator.entities.set(entities));
  await new Scanner(DEFAULT_PATHS, kernel, netns).refresh();
  const errors = new SourceErrors();
  const files = new NetFiles(DEFAULT_PATHS.proc, netns, errors);
  const netlink = new NetlinkClient(files, errors);
  const scope = resources.use(
    new Scope({
      probe: tcpsummary.name,
      context: { errors } as ProbeContext,
      retained: new RetainedStates(),
      publish: () => undefined,
      record: () => undefined,
      warn: () => undefined,
    }),
  );
  const sources = {
    netns,
    sockets: socketSource(bpf, netns, files, netlink, UNOWNED, errors, () => undefined),
  } as Partial<Sources> as Sources;
  const settings = { metrics: true, events: false, limit: 0, options: {} };
  const probe = await tcpsummary.open(scope, sources, settings);
  const collect = async () => {
    const batch = aggregator.begin(tcpsummary.name);
    await probe.collect?.(batch.emit, freeCycle());
    batch.commit();
  };
  const walk = resources.use(await TcpWalk.open(bpf, NAMESPACES, UNOWNED, errors));
  return new Bench(collect, walk, new TcpDiag(netns, files, netlink));
}
