import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/**
 * A clock on which each sleep advances the time immediately by its length. Long pauses therefore take no time, and
 * their lengths are exact.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;

  now(): number {
    return this.#nowMs;
  }

  async sleep(ms: number): Promise<void> {
    // Sums of whole milliseconds are exact.
    this.#nowMs += Math.ceil(ms);
    await turn();
  }
}
