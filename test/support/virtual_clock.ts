import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/**
 * A clock on which each sleep returns immediately and advances the time by its length. Long pauses therefore take no
 * time, and their lengths are exact.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;

  now(): number {
    return this.#nowMs;
  }

  async sleep(ms: number): Promise<void> {
    // Rounds up to whole milliseconds, because sums of integers are exact.
    this.#nowMs += Math.ceil(ms);
    await turn();
  }
}
