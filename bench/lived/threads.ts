import { readdirSync, readFileSync } from 'node:fs';

/** CPU use of a thread since its start. */
interface ThreadUse {
  readonly name: string;
  readonly cpuMs: number;
  /** Number of voluntary context switches. Each means that the thread waited for something and was woken up. */
  readonly wakeups: number;
}

const NANOSECONDS_PER_MS = 1e6;

/** CPU use of all threads of a process at one moment. */
export class ThreadTimes {
  readonly #byTid: ReadonlyMap<string, ThreadUse>;
  readonly atMs = performance.now();

  private constructor(byTid: ReadonlyMap<string, ThreadUse>) {
    this.#byTid = byTid;
  }

  /** Reads /proc/PID/task/TID/schedstat, comm and status (Documentation/scheduler/sched-stats.rst, man 5 proc). */
  static of(pid: number): ThreadTimes {
    const byTid = new Map<string, ThreadUse>();
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const folder = `/proc/${pid}/task/${tid}`;
      try {
        const [onCpuNs] = readFileSync(`${folder}/schedstat`, 'utf8').split(' ');
        const [, switches] = /^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`${folder}/status`, 'utf8')) ?? [];
        byTid.set(tid, {
          name: readFileSync(`${folder}/comm`, 'utf8').trim(),
          cpuMs: Number(onCpuNs) / NANOSECONDS_PER_MS,
          wakeups: Number(switches),
        });
      } catch (error) {
        // The thread exited after the directory was listed.
        if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      }
    }
    return new ThreadTimes(byTid);
  }

  /** Returns the CPU use since an earlier moment. Threads that exited meanwhile are omitted. */
  since(earlier: ThreadTimes): Use {
    const threads = new Map<string, { cpuMs: number; wakeups: number }>();
    for (const [tid, { name, cpuMs, wakeups }] of this.#byTid) {
      const before = earlier.#byTid.get(tid);
      const sum = threads.get(name) ?? { cpuMs: 0, wakeups: 0 };
      sum.cpuMs += cpuMs - (before?.cpuMs ?? 0);
      sum.wakeups += wakeups - (before?.wakeups ?? 0);
      threads.set(name, sum);
    }
    return { elapsedMs: this.atMs - earlier.atMs, threads };
  }
}

/** CPU use between two moments, by thread name. */
export interface Use {
  readonly elapsedMs: number;
  readonly threads: ReadonlyMap<string, { readonly cpuMs: number; readonly wakeups: number }>;
}

export function cpuMsOf({ threads }: Use): number {
  return [...threads.values()].reduce((sum, { cpuMs }) => sum + cpuMs, 0);
}

export function wakeupsOf({ threads }: Use): number {
  return [...threads.values()].reduce((sum, { wakeups }) => sum + wakeups, 0);
}

/**
 * Returns the CPU milliseconds by thread name, minus the idle use scaled to the same period. The key `all` contains the
 * sum over all threads.
 */
export function netOfIdle(use: Use, idle: Use): ReadonlyMap<string, number> {
  const share = use.elapsedMs / idle.elapsedMs;
  const net = new Map([['all', cpuMsOf(use) - cpuMsOf(idle) * share]]);
  for (const [name, { cpuMs }] of use.threads) net.set(name, cpuMs - (idle.threads.get(name)?.cpuMs ?? 0) * share);
  return net;
}
