import { readdirSync, readFileSync } from 'node:fs';
import { only, probesOf, type TestKernel } from '../../test/support/kernel.ts';
import { meanOf, type Row } from '../measure.ts';
import type { Kind, Traffic } from './traffic.ts';

const PAIRS = 20;
const ON = { http: { enabled: true }, dns: { enabled: true } };

/** Requests of a run, which takes some tenths of a second. */
const COUNTS = { kept: 15_000, redis: 25_000, download: 60 } as const satisfies Partial<Record<Kind, number>>;
const NAMES = { kept: 'nginx', redis: 'Redis', download: 'nginx, downloads of 10 MB' } as const;

type Measured = keyof typeof COUNTS;

interface Cost {
  /** CPU microseconds for each request. */
  readonly serverUs: number;
  readonly bothUs: number;
  readonly perSecond: number;
}

/**
 * Measures the CPU time of a request, alternately with and without `http` and `dns`. The kernel charges the programs to
 * the process that runs when they do: those for sent packets to the sender, and those for received ones mostly, too.
 */
export async function measurePairs(agent: TestKernel, traffic: Traffic): Promise<Row[]> {
  const costs = new Map<Measured, { without: Cost[]; with: Cost[] }>();
  for (const kind of Object.keys(COUNTS) as Measured[]) costs.set(kind, { without: [], with: [] });
  const off: Row[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    // Every other pair begins with the probes enabled, so that a drift of the machine cancels out.
    for (const isOn of pair % 2 === 0 ? [false, true] : [true, false]) {
      await agent.kernel.configure(probesOf(only(isOn ? ON : {})));
      if (pair === 0) off.push(programsRow(isOn));
      for (const [kind, { without, with: enabled }] of costs) {
        (isOn ? enabled : without).push(await costOf(traffic, kind));
      }
    }
  }
  return [...[...costs].flatMap(([kind, found]) => rowsOf(kind, found.without, found.with)), ...off];
}

async function costOf(traffic: Traffic, kind: Measured): Promise<Cost> {
  const server = kind === 'redis' ? 'redis' : 'web';
  const before = traffic.serverMs(server);
  const { requests, seconds, clientMs } = await traffic.play(kind, COUNTS[kind]);
  const serverMs = traffic.serverMs(server) - before;
  return {
    serverUs: (serverMs * 1_000) / requests,
    bothUs: ((serverMs + clientMs) * 1_000) / requests,
    perSecond: requests / seconds,
  };
}

function rowsOf(kind: Measured, without: readonly Cost[], enabled: readonly Cost[]): Row[] {
  const bench = `requests: ${NAMES[kind]}, ${PAIRS} alternated pairs`;
  const differences = (of: (cost: Cost) => number) =>
    meanOf(enabled.map((cost, index) => of(cost) - of(without[index] as Cost)));
  const ratios = (of: (cost: Cost) => number) =>
    meanOf(enabled.map((cost, index) => of(cost) / of(without[index] as Cost)));
  const server = (cost: Cost) => cost.serverUs;
  const both = (cost: Cost) => cost.bothUs;
  return [
    { bench, what: 'CPU of the server for a request, without', unit: 'µs', ...meanOf(without.map(server)) },
    { bench, what: 'CPU of the server for a request, with', unit: 'µs', ...meanOf(enabled.map(server)) },
    { bench, what: 'CPU of the server for a request, difference', unit: 'µs', ...differences(server) },
    { bench, what: 'CPU of the server for a request, with : without', unit: '', ...ratios(server) },
    { bench, what: 'CPU of client and server for a request, without', unit: 'µs', ...meanOf(without.map(both)) },
    { bench, what: 'CPU of client and server for a request, difference', unit: 'µs', ...differences(both) },
    { bench, what: 'CPU of client and server for a request, with : without', unit: '', ...ratios(both) },
    { bench, what: 'requests per second, with : without', unit: '', ...ratios(({ perSecond }) => perSecond) },
  ];
}

/** `prog_type` of programs that run for packets of a cgroup (BPF_PROG_TYPE_CGROUP_SKB). */
const CGROUP_SKB = 8;

/** Counts the programs for packets that this process has loaded. */
function programsRow(isOn: boolean): Row {
  const ids = readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    const text = readIfOpen(`/proc/self/fdinfo/${fd}`);
    const id = /^prog_id:\s+(\d+)$/m.exec(text)?.[1];
    return id !== undefined && new RegExp(`^prog_type:\\s+${CGROUP_SKB}$`, 'm').test(text) ? [id] : [];
  });
  return {
    bench: 'requests: loaded programs for packets',
    what: isOn ? 'with http and dns' : 'without',
    value: new Set(ids).size,
    unit: '',
    bound: isOn ? { atLeast: 2 } : { atMost: 0 },
  };
}

/** Returns the text of a file; empty if the descriptor was closed after the directory was listed. */
function readIfOpen(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return '';
  }
}
