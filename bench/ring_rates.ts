import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { BpfObject, BpfRing, type RingWakeUp } from 'bpf-napi';
import { buildBpf, buildProgram } from './kernel/build.ts';
import { median, quantile, type Row } from './measure.ts';

const RATES = [0, 10, 1_000, 100_000];
const ROUNDS = 5;
const RUN_MS = 2_000;
/** The same values as in src/probe/ebpf.ts. */
const RING = { intervalMs: 25, bufferBytes: 256 * 1024, recordBytesMax: 256 };
/** Flag of bpf_ringbuf_submit() for a ring that only a timer drains: BPF_RB_NO_WAKEUP. */
const NO_WAKEUP = 1n;

interface Run {
  readonly cpuMs: number;
  readonly wakeUps: number;
  readonly records: number;
  readonly lost: number;
  readonly latenciesMs: readonly number[];
  readonly producerNs: number;
}

/**
 * Measures the cost of reading records at several rates, from a ring that only a timer drains, and from a ring that is
 * drained as in the agent.
 */
export async function benchRingRates(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const producer = await Producer.start(folder);
  try {
    const file = buildBpf('paced.bpf.c', folder);
    using byTimer = await openObject(file, producer, NO_WAKEUP);
    using adaptive = await openObject(file, producer, 0n);
    const rows: Row[] = [];
    for (const rate of RATES) {
      const runs = { timer: [] as Run[], adaptive: [] as Run[] };
      for (let round = 0; round < ROUNDS; round++) {
        runs.timer.push(await measure(byTimer, 'timer', producer, rate));
        runs.adaptive.push(await measure(adaptive, 'adaptive', producer, rate));
      }
      rows.push(...rowsOf(rate, 'timer', runs.timer), ...rowsOf(rate, 'adaptive', runs.adaptive));
    }
    return rows;
  } finally {
    producer[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  }
}

function rowsOf(rate: number, wakeBy: RingWakeUp, runs: readonly Run[]): Row[] {
  const bench = `a ring, ${rate} records a second, ${wakeBy}`;
  const of = (value: (run: Run) => number) => median(runs.map(value));
  const seconds = RUN_MS / 1_000;
  const rows: Row[] = [
    { bench, what: 'CPU per second (median)', value: of(({ cpuMs }) => cpuMs / seconds), unit: 'ms' },
    { bench, what: 'wake-ups per second (median)', value: of(({ wakeUps }) => wakeUps / seconds), unit: '' },
  ];
  if (rate === 0) return rows;
  const latency = (share: number) => of(({ latenciesMs }) => quantile(latenciesMs, share));
  return [
    ...rows,
    {
      bench,
      what: 'CPU per record (median)',
      value: of(({ cpuMs, records }) => (cpuMs * 1_000) / records),
      unit: 'µs',
    },
    { bench, what: 'CPU of the producer, per record', value: of(({ producerNs }) => producerNs), unit: 'ns' },
    { bench, what: 'from submit to JavaScript (median)', value: latency(0.5), unit: 'ms' },
    { bench, what: 'the same, 99th percentile', value: latency(0.99), unit: 'ms', bound: { atMost: 100 } },
    {
      bench,
      what: 'lost',
      value: runs.reduce((sum, { lost }) => sum + lost, 0),
      unit: 'records',
      bound: { atMost: 0 },
    },
  ];
}

async function openObject(file: string, producer: Producer, flags: bigint): Promise<BpfObject> {
  const object = await BpfObject.open(file);
  object.setVariable('producer', producer.pid);
  object.setVariable('call', producer.call);
  object.setVariable('flags', flags);
  await object.load();
  return object;
}

async function measure(object: BpfObject, wakeBy: RingWakeUp, producer: Producer, rate: number): Promise<Run> {
  const latenciesMs: number[] = [];
  using ring = new BpfRing(object, 'records', {
    ...RING,
    wakeBy,
    onBatch: ({ view, forEach }) => {
      const now = process.hrtime.bigint();
      forEach((at) => latenciesMs.push(Number(now - view.getBigUint64(at, true)) / 1e6));
    },
    onError: (error) => {
      throw error;
    },
  });
  const link = await object.attach('paced');
  const lostBefore = lostOf(object);
  await wait(100);
  const { wakeUps } = ring;
  const start = process.cpuUsage();
  const { calls, cpuNs } = await producer.run(rate, RUN_MS);
  await wait(RING.intervalMs * 2);
  const { user, system } = process.cpuUsage(start);
  link.close();
  while (ring.drain() > 0);
  const lost = lostOf(object) - lostBefore;
  if (latenciesMs.length + lost !== calls) throw new Error(`${latenciesMs.length} taken, ${lost} lost of ${calls}`);
  return {
    cpuMs: (user + system) / 1_000,
    wakeUps: ring.wakeUps - wakeUps,
    records: latenciesMs.length,
    lost,
    latenciesMs,
    producerNs: cpuNs / calls,
  };
}

function lostOf(object: BpfObject): number {
  const count = new BigUint64Array(1);
  object.map('lost').lookup(new Uint8Array(4), new Uint8Array(count.buffer));
  return Number(count[0]);
}

/** The process whose system calls cause the records. */
class Producer implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly call: bigint;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, call: bigint) {
    this.#child = child;
    this.#lines = lines;
    this.call = call;
  }

  static async start(folder: string): Promise<Producer> {
    const child = spawn(buildProgram('paced.c', folder), { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new Producer(child, lines, BigInt((await lines.next()).value ?? 0));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async run(rate: number, milliseconds: number): Promise<{ readonly calls: number; readonly cpuNs: number }> {
    this.#child.stdin?.write(`${rate} ${milliseconds}\n`);
    const [calls = Number.NaN, cpuNs = Number.NaN] = String((await this.#lines.next()).value)
      .split(' ')
      .map(Number);
    return { calls, cpuNs };
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}
