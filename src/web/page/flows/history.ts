import { addCounts, type EdgeCounts, type FlowTotals, growthOf, isQuiet, NO_COUNTS } from '#api/flow_rates.ts';

/** Period that sparklines cover. */
export const HISTORY_MS = 300_000;
/** Period over which the shown numbers are averaged. */
const WINDOW_MS = 60_000;
/**
 * Maximum interval between two readings. A longer interval is a gap, during which the page was hidden or showed another
 * tab. No line is drawn across a gap, because it would hide changes during the gap.
 */
const GAP_MS = 30_000;
const MS_PER_SECOND = 1_000;

/** Totals of all rows as of one collection. */
export interface Reading {
  /** Time of the collection. */
  readonly atMs: number;
  readonly totals: ReadonlyMap<string, FlowTotals>;
  /** Whether no row was left out, so that a missing row did not exist. */
  readonly isComplete: boolean;
}

/** Growth between two readings. */
interface Step {
  readonly startMs: number;
  readonly endMs: number;
  /** Growth of each row. Rows whose growth is unknown, and rows that did not exist, are missing. */
  readonly counts: ReadonlyMap<string, EdgeCounts>;
  /** Whether missing rows did not exist. */
  readonly isComplete: boolean;
}

/** Growth of one row between two readings. */
export interface Point {
  readonly startMs: number;
  readonly endMs: number;
  readonly seconds: number;
  /** Undefined if the growth is unknown. */
  readonly counts: EdgeCounts | undefined;
}

/** Growth of rows over the last five minutes, computed from totals that the page reads repeatedly. */
export class FlowHistory {
  #last: Reading | undefined;
  #steps: readonly Step[] = [];
  #version = 0;

  /** Ignores a reading of the same collection as the last one. */
  add(reading: Reading): void {
    const last = this.#last;
    if (last?.atMs === reading.atMs) return;
    this.#last = reading;
    this.#version++;
    // The clock of the node was set back.
    if (last !== undefined && reading.atMs < last.atMs) this.#steps = [];
    const oldestMs = reading.atMs - HISTORY_MS;
    const kept = this.#steps.filter(({ endMs }) => endMs > oldestMs);
    const isGap = last === undefined || reading.atMs < last.atMs || reading.atMs - last.atMs > GAP_MS;
    this.#steps = isGap ? kept : [...kept, stepBetween(last, reading)];
  }

  /** Number that changes with each reading. */
  get version(): number {
    return this.#version;
  }

  /** Time of the last reading; undefined before the first one. */
  get endMs(): number | undefined {
    return this.#last?.atMs;
  }

  /** Number of seconds over which numbers are averaged; 0 if there are no numbers yet. */
  get seconds(): number {
    return secondsOf(this.#window);
  }

  /** Returns the growth of a row within the last minute, and the number of seconds for which the growth is known. */
  sum(id: string): { readonly counts: EdgeCounts; readonly seconds: number } | undefined {
    const known = this.#window.filter((step) => countsIn(step, id) !== undefined);
    if (known.length === 0) return undefined;
    const counts = known.reduce((sum, step) => addCounts(sum, countsIn(step, id) ?? NO_COUNTS), NO_COUNTS);
    return { counts, seconds: secondsOf(known) };
  }

  /** Returns the growth of a row between the readings of the last five minutes, the oldest first. */
  points(id: string): Point[] {
    return this.#steps.map((step) => ({
      startMs: step.startMs,
      endMs: step.endMs,
      seconds: (step.endMs - step.startMs) / MS_PER_SECOND,
      counts: countsIn(step, id),
    }));
  }

  get #window(): readonly Step[] {
    const sinceMs = (this.#last?.atMs ?? 0) - WINDOW_MS;
    return this.#steps.filter(({ endMs }) => endMs > sinceMs);
  }
}

function countsIn({ counts, isComplete }: Step, id: string): EdgeCounts | undefined {
  return counts.get(id) ?? (isComplete ? NO_COUNTS : undefined);
}

function secondsOf(steps: readonly Step[]): number {
  return steps.reduce((sum, { startMs, endMs }) => sum + (endMs - startMs), 0) / MS_PER_SECOND;
}

function stepBetween(earlier: Reading, later: Reading): Step {
  const counts = new Map<string, EdgeCounts>();
  for (const [id, totals] of later.totals) {
    const past = earlier.totals.get(id);
    if (past === undefined && !earlier.isComplete) continue;
    const grown = growthOf(totals, past);
    // Most rows have no growth, and share one object.
    counts.set(id, isQuiet(grown) ? NO_COUNTS : grown);
  }
  const isComplete = earlier.isComplete && later.isComplete;
  return { startMs: earlier.atMs, endMs: later.atMs, counts, isComplete };
}
