import { netnsWalkResult } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';

/** Flags of a result. The remaining bits are the number of rows in the slice. */
const { done: DONE, starts_initial: STARTS_INITIAL } = netnsWalkResult;
const ROWS_MASK = ~(DONE | STARTS_INITIAL);

/** Returns the number of rows in a slice. */
export function rowsOf(result: number): number {
  return result & ROWS_MASK;
}

/** Target duration of a slice. A program occupies its CPU while it runs and must stay below half a millisecond. */
const SLICE_MS = 0.3;
const ROWS_MIN = 4;

/**
 * Runs the program for `count` rows beginning with row `skip`, and returns its result.
 * @param goesOn 1 to continue at the last row of the previous slice if possible; 0 to count from the start of the
 *   list
 */
export type RunSlice = (skip: number, count: number, goesOn: bigint) => number;

export interface WalkVisitor {
  /** Returns a key for row `index` of the last slice, such as a namespace cookie. Keys are never reused. */
  key(index: number): Counter;
  /** Called once for each entry. */
  row(index: number): void;
}

/**
 * Walks a kernel list of all network namespaces or all processes in slices, so that no run occupies its CPU for long.
 * Each entry is visited exactly once even if other entries are added or removed between slices. A slice starts at the
 * last row of the previous slice, which the program remembers. If that row is gone or another walk has run meanwhile,
 * the program counts rows from the start of the list. Because removed entries shift later entries forward, the walk
 * then steps back until it finds a row that it has already visited.
 */
export class ListWalk {
  readonly #rowsMax: number;
  #rows: number;

  /**
   * @param rowsMax maximum number of rows that fit into the program's map
   * @param rowsFirst number of rows in the first slice, when the cost of a row is not yet known; any positive number
   */
  constructor(rowsMax: number, rowsFirst: number) {
    this.#rowsMax = rowsMax;
    this.#rows = Math.max(ROWS_MIN, Math.min(rowsMax, Math.floor(rowsFirst)));
  }

  /**
   * Returns whether a walk over namespaces started in the initial namespace. The flags of its first row do not show
   * that.
   */
  async run(run: RunSlice, visitor: WalkVisitor, cycle: Cycle): Promise<{ startsInitial: boolean }> {
    const seen = new Set<Counter>();
    let next = 0;
    let goesOn = false;
    for (let back = 1; ; ) {
      const skip = Math.max(0, next - 1);
      const result = this.#timed(run, skip, goesOn);
      const rows = rowsOf(result);
      const isKnown = next === 0 || (rows > 0 && seen.has(visitor.key(0)));
      if (isKnown) {
        visitNew(rows, seen, visitor);
        back = 1;
        next = skip + rows;
        if (result >= DONE) return { startsInitial: (result & STARTS_INITIAL) !== 0 };
        if (rows === 0) throw new Error('the walk over a kernel list makes no progress');
        await cycle.pause();
      } else if (!goesOn) {
        next = Math.max(0, next - back);
        back *= 2;
      }
      goesOn = isKnown;
    }
  }

  #timed(run: RunSlice, skip: number, goesOn: boolean): number {
    const start = performance.now();
    const result = run(skip, this.#rows, goesOn ? 1n : 0n);
    const took = performance.now() - start;
    const rows = rowsOf(result);
    if (rows > 0) {
      const fitting = Math.floor((SLICE_MS / took) * rows);
      // The number of rows may at most double with each run. A slow run that was interrupted must not keep the slices
      // short.
      this.#rows = Math.max(ROWS_MIN, Math.min(this.#rowsMax, fitting, this.#rows * 2));
    }
    return result;
  }
}

function visitNew(rows: number, seen: Set<Counter>, visitor: WalkVisitor): void {
  for (let index = 0; index < rows; index++) {
    const key = visitor.key(index);
    if (seen.has(key)) continue;
    seen.add(key);
    visitor.row(index);
  }
}
