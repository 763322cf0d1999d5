import { Cycle } from '#core/cycle.ts';
import { withDeadline } from '#core/deadline.ts';
import type { Aggregator, Batch } from './aggregate.ts';
import type { ActiveProbe } from './supervisor.ts';

export interface CollectOutcome {
  readonly probe: string;
  readonly seconds: number;
  readonly error: Error | undefined;
}

export interface Deadlines {
  /** Maximum number of milliseconds for one probe. If a probe takes longer, its samples are dropped. */
  readonly probeMs: number;
  /** Maximum number of milliseconds for all probes together. */
  readonly cycleMs: number;
}

/** Both limits are below the default scrape timeout of Prometheus, which is ten seconds. */
const DEADLINES: Deadlines = { probeMs: 1_000, cycleMs: 8_000 };

/** Runs the probes one at a time, each with a deadline, so that no probe can block the page. */
export class Scrape {
  readonly #aggregator: Aggregator;
  readonly #deadlines: Deadlines;
  /** Probes whose collection is still running, possibly beyond its deadline. */
  readonly #stuck = new Set<ActiveProbe>();

  constructor(aggregator: Aggregator, deadlines = DEADLINES) {
    this.#aggregator = aggregator;
    this.#deadlines = deadlines;
  }

  /** Collects all probes into the aggregator. Never throws, because the outcome of a probe contains its error. */
  async run(probes: readonly ActiveProbe[]): Promise<CollectOutcome[]> {
    const controller = new AbortController();
    const cycle = new Cycle(controller.signal);
    const endMs = performance.now() + this.#deadlines.cycleMs;
    const outcomes: CollectOutcome[] = [];
    for (const active of probes) {
      if (!active.metrics || active.probe.collect === undefined) continue;
      const leftMs = Math.max(0, Math.min(this.#deadlines.probeMs, endMs - performance.now()));
      const outcome = await this.#collect(active, cycle, leftMs);
      active.collected(outcome.seconds, outcome.error);
      outcomes.push(outcome);
    }
    controller.abort(new Error('the collection is over'));
    return outcomes;
  }

  async #collect(active: ActiveProbe, cycle: Cycle, deadlineMs: number): Promise<CollectOutcome> {
    const batch = this.#aggregator.begin(active.name, active.probe.isShown);
    const start = performance.now();
    const error = this.#stuck.has(active)
      ? new Error('an earlier collection is still running')
      : await this.#attempt(active, batch, cycle, deadlineMs);
    if (error === undefined) batch.commit();
    else batch.discard();
    return { probe: active.name, seconds: (performance.now() - start) / 1000, error };
  }

  async #attempt(active: ActiveProbe, batch: Batch, cycle: Cycle, deadlineMs: number): Promise<Error | undefined> {
    const collection = (async () => active.probe.collect?.(batch.emit, cycle))().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    );
    this.#stuck.add(active);
    void collection.then(() => this.#stuck.delete(active));
    return withDeadline(collection, deadlineMs, `took longer than ${Math.round(deadlineMs)} ms`).catch(
      (late: Error) => late,
    );
  }
}
