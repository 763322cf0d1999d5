import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Milliseconds of a tick. USER_HZ is 100 on all architectures on which Node.js runs (man 7 time). */
const TICK_MS = 10;

/** Returns the ID of the calling thread; undefined if /proc does not show it. */
export function ownThread(): number | undefined {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')));
  } catch {
    return undefined;
  }
}

/** Measures for how long a thread of this process waits for a CPU. */
export class StarvedTime {
  readonly #file: string;
  #atMs = performance.now();
  #cpuMs: number | undefined;

  /** @param tid ID of the thread in the kernel */
  constructor(tid: number) {
    this.#file = `/proc/self/task/${tid}/stat`;
    this.take();
  }

  /**
   * Returns the milliseconds since the previous call in which the thread did not run, if it is runnable now; otherwise
   * 0. A thread that waits in the kernel is not runnable, and one in an endless loop runs (man 5 proc_pid_stat: state,
   * utime, stime).
   */
  take(): number {
    const nowMs = performance.now();
    const { state, cpuMs } = this.#read();
    const ranMs = this.#cpuMs === undefined || cpuMs === undefined ? undefined : cpuMs - this.#cpuMs;
    const starvedMs = ranMs === undefined || state !== 'R' ? 0 : Math.max(0, nowMs - this.#atMs - ranMs);
    this.#atMs = nowMs;
    this.#cpuMs = cpuMs;
    return starvedMs;
  }

  #read(): { readonly state: string | undefined; readonly cpuMs: number | undefined } {
    try {
      const text = readFileSync(this.#file, 'latin1');
      // The name of the thread, in parentheses, may contain any character.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return { state: fields[0], cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS };
    } catch {
      return { state: undefined, cpuMs: undefined };
    }
  }
}
