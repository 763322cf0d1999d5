import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/** A clock that jumps ahead at each sleep: pauses of minutes take no time, and their length is exact. */
export class VirtualClock implements Clock {
  #nowMs = 0;

  now(): number {
    return this.#nowMs;
  }

  async sleep(ms: number): Promise<void> {
    // Whole milliseconds add up without rounding.
    this.#nowMs += Math.ceil(ms);
    await turn();
  }
}
