import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AgentProcess } from '../test/support/agent_process.ts';
import { dropUdp } from '../test/support/event_rate.ts';
import { HostPair } from '../test/support/hosts.ts';
import { cpuMsOf, ThreadTimes } from './lived/threads.ts';
import { median, quantile, type Row } from './measure.ts';

export interface LatencyOptions {
  /** Seconds without events before each single event whose latency is measured. */
  readonly silenceSeconds: number;
  /** Directories of other built checkouts, which are measured alternately with this one. */
  readonly baselines: readonly string[];
}

const TREE = fileURLToPath(new URL('..', import.meta.url));
/** Packets to drop per second, and per burst. */
const RATES = [
  { perSecond: 10, atOnce: 1 },
  { perSecond: 1_000, atOnce: 20 },
  { perSecond: 100_000, atOnce: 5_000 },
];
const RUN_MS = 5_000;
/** Time after which an event that has not arrived counts as lost. */
const SETTLE_MS = 3_000;
const START_MS = 8_000;
const LIMIT = 100_000;

interface Run {
  readonly latenciesMs: readonly number[];
  readonly sent: number;
  readonly cpuMs: number;
  readonly idleMs: number;
}

/**
 * Measures how a running agent reports events: the latency from the drop in the kernel until the event is read from the
 * agent's stdout, the CPU time of all of the agent's threads, and the number of events that do not arrive.
 */
export async function benchLatency({ silenceSeconds, baselines }: LatencyOptions): Promise<Row[]> {
  await using pair = await HostPair.create();
  dropUdp(pair);
  const rows: Row[] = [];
  for (const tree of [TREE, ...baselines]) {
    await using listener = await Listener.start(tree, pair);
    const name = tree === TREE ? 'this tree' : basename(tree);
    await wait(silenceSeconds * 1_000);
    const first = await listener.during({ perSecond: 1, atOnce: 1 }, 1_000);
    rows.push({
      bench: `latency to standard output, ${name}, the first after ${silenceSeconds} s of silence`,
      what: 'longest',
      value: Math.max(...first.latenciesMs),
      unit: 'ms',
      bound: { atMost: 100 },
    });
    for (const rate of RATES) rows.push(...rowsOf(name, await listener.during(rate, RUN_MS)));
  }
  return rows;
}

function rowsOf(name: string, { latenciesMs, sent, cpuMs, idleMs }: Run): Row[] {
  const bench = `latency to standard output, ${name}, ${Math.round(sent / (RUN_MS / 1_000))} drops a second`;
  return [
    { bench, what: 'median', value: median(latenciesMs), unit: 'ms' },
    { bench, what: '99th percentile', value: quantile(latenciesMs, 0.99), unit: 'ms' },
    {
      bench,
      what: 'CPU per event, all threads, less idle',
      value: ((cpuMs - idleMs) * 1_000) / latenciesMs.length,
      unit: 'µs',
    },
    { bench, what: 'did not arrive', value: sent - latenciesMs.length, unit: 'events' },
  ];
}

class Listener implements AsyncDisposable {
  readonly #agent: AgentProcess;
  readonly #pair: HostPair;
  readonly #folder: AsyncDisposable;
  #latenciesMs: number[] = [];
  #rest = '';

  private constructor(agent: AgentProcess, pair: HostPair, folder: AsyncDisposable) {
    this.#agent = agent;
    this.#pair = pair;
    this.#folder = folder;
    agent.heard = (text) => this.#hear(text);
  }

  static async start(tree: string, pair: HostPair): Promise<Listener> {
    const folder = await mkdtempDisposable(join(tmpdir(), 'bench-'));
    const config = join(folder.path, 'config.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        probes: { packetloss: { limit: LIMIT } },
        events: { limit: LIMIT, fold: '0s' },
        sinks: { stdout: { queue: 1_000_000, queueBytes: '1GiB' } },
      }),
    );
    const agent = await AgentProcess.serve(['--config', config], [], {}, join(tree, 'bin/netsonde'));
    const listener = new Listener(agent, pair, folder);
    await wait(START_MS);
    return listener;
  }

  async during({ perSecond, atOnce }: (typeof RATES)[number], ms: number): Promise<Run> {
    const idle = await this.#used(ms + SETTLE_MS, async () => undefined);
    this.#latenciesMs = [];
    let sent = 0;
    const cpuMs = await this.#used(ms + SETTLE_MS, async () => {
      const startMs = performance.now();
      for (let nowMs = startMs; nowMs < startMs + ms; nowMs = performance.now()) {
        await this.#pair.a.udpSend({ address: this.#pair.addressB.ipv4, port: 7001, count: atOnce, bytes: 9 });
        sent += atOnce;
        await wait(Math.max(0, startMs + (sent / perSecond) * 1_000 - performance.now()));
      }
    });
    return { latenciesMs: this.#latenciesMs, sent, cpuMs, idleMs: idle };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }

  /** Returns the CPU milliseconds of all threads, from the start of `act` until its events have arrived. */
  async #used(ms: number, act: () => Promise<void>): Promise<number> {
    const before = ThreadTimes.of(this.#agent.pid);
    const endMs = performance.now() + ms;
    await act();
    await wait(Math.max(SETTLE_MS, endMs - performance.now()));
    return cpuMsOf(ThreadTimes.of(this.#agent.pid).since(before));
  }

  #hear(text: string): void {
    const nowMs = performance.timeOrigin + performance.now();
    // Discards the collected output, because other namespaces on this machine may cause events all the time.
    this.#agent.stdout = '';
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.includes(':7001"') || !line.includes(`"pod":"${this.#pair.b.netns.name}"`)) continue;
      const time = /"time":"([^"]+)"/.exec(line)?.[1] ?? '';
      this.#latenciesMs.push(nowMs - Date.parse(time));
    }
  }
}
