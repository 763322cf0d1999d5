import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/** A clock that a test advances in steps. Each step wakes the sleepers whose time has elapsed. */
export class SteppedClock implements Clock {
  readonly #stepMs: number;
  #nowMs = 0;
  readonly #sleepers = new Map<number, (() => void)[]>();

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }

  now(): number {
    return this.#nowMs;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const at = Math.ceil((this.#nowMs + ms) / this.#stepMs) * this.#stepMs;
    await new Promise<void>((resolve) => {
      const others = this.#sleepers.get(at);
      if (others === undefined) this.#sleepers.set(at, [resolve]);
      else others.push(resolve);
    });
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await this.#settle();
    while (this.#nowMs < endMs) {
      this.#nowMs += this.#stepMs;
      const due = this.#sleepers.get(this.#nowMs);
      if (due === undefined) continue;
      this.#sleepers.delete(this.#nowMs);
      for (const resolve of due) resolve();
      await this.#settle();
    }
  }

  /** Wakes all sleepers. */
  release(): void {
    for (const sleepers of this.#sleepers.values()) for (const resolve of sleepers) resolve();
    this.#sleepers.clear();
  }

  /**
   * Waits until pending work that does not sleep has completed. Responses are promises and in-memory streams in these
   * tests, so a few turns of the event loop are enough.
   */
  async #settle(): Promise<void> {
    for (let times = 0; times < 4; times++) await turn();
  }
}
