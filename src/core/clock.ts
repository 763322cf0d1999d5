import { setTimeout as wait } from 'node:timers/promises';

/** Clock for code with timing that tests control. */
export interface Clock {
  /** Returns milliseconds of a monotonic clock. */
  now(): number;
  /** Resolves after this many milliseconds, or once the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, { signal }).catch(() => undefined),
};
