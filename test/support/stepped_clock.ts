import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/** Moves when it is told to, step by step, and at each step lets all go on whose time has come: many that pace themselves, at once. */
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

  /** Lets everybody go on who sleeps. */
  release(): void {
    for (const sleepers of this.#sleepers.values()) for (const resolve of sleepers) resolve();
    this.#sleepers.clear();
  }

  /** What does not sleep comes to its end: answers here are promises and streams in memory. */
  async #settle(): Promise<void> {
    for (let times = 0; times < 4; times++) await turn();
  }
}
