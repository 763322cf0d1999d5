import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

/** One row of the table. There is no row for a figure that was not measured. */
export interface Row {
  readonly bench: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** Present if `value` is the median of several measurements. */
  readonly spread?: Spread;
  /** 95 % confidence interval, if `value` is a mean. */
  readonly interval?: readonly [number, number];
  /** Required maximum or minimum of the value. */
  readonly bound?: { readonly atMost?: number; readonly atLeast?: number };
}

export interface Spread {
  readonly median: number;
  readonly quartiles: readonly [number, number];
  readonly mean: number;
  readonly n: number;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function spreadOf(values: readonly number[]): Spread {
  return {
    median: median(values),
    quartiles: [quantile(values, 0.25), quantile(values, 0.75)],
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    n: values.length,
  };
}

/** Quantile 0.975 of Student's distribution with 19 degrees of freedom, for 20 values. */
const STUDENT = 2.093;

/** Returns the mean of 20 values, and its 95 % confidence interval. */
export function meanOf(values: readonly number[]): { value: number; interval: readonly [number, number] } {
  const { length } = values;
  const mean = values.reduce((sum, value) => sum + value, 0) / length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (length - 1);
  const half = STUDENT * Math.sqrt(variance / length);
  return { value: mean, interval: [mean - half, mean + half] };
}

/** Returns the CPU milliseconds that each run of `work` takes in all threads of this process. */
export async function cpuMs(runs: number, work: () => Promise<unknown> | unknown): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
  }
  return times;
}

export async function wallMs(runs: number, work: () => Promise<unknown> | unknown): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return times;
}

/** Network namespaces with one process each. Disposing of this object removes them. */
export class Namespaces implements AsyncDisposable {
  readonly #shell: ChildProcess;

  private constructor(shell: ChildProcess) {
    this.#shell = shell;
  }

  /** @param setUp shell command that runs first in each namespace; one line without single quotes */
  static async create(count: number, setUp = 'ip link set lo up'): Promise<Namespaces> {
    const script = `for i in $(seq ${count}); do unshare -n sh -c '${setUp}; exec sleep 3600' & done; wait`;
    const shell = spawn('sh', ['-c', script], { stdio: 'ignore', detached: true });
    await wait(1_000 + count * 20);
    return new Namespaces(shell);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#shell.once('exit', resolve));
    // The shell was started with `detached`, so it leads a process group that contains all of its children.
    process.kill(-(this.#shell.pid ?? 0), 'SIGKILL');
    await gone;
  }
}

/** Returns the resident anonymous memory of a process in bytes. */
export function rssAnonOf(pid: number | 'self'): number {
  const [, kilobytes] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}
