import { setTimeout as wait } from 'node:timers/promises';

/** Clock that tests can replace to control the timing. */
export interface Clock {
  /** Returns the time of a monotonic clock in milliseconds. */
  now(): number;
  /** Resolves after the given number of milliseconds, or once the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, { signal }).catch(() => undefined),
};
