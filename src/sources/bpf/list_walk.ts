import { netnsWalkResult } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';

/** Flags in a result. The remaining bits contain the number of rows in the slice. */
const { done: DONE, starts_initial: STARTS_INITIAL } = netnsWalkResult;
const ROWS_MASK = ~(DONE | STARTS_INITIAL);

/** Returns the number of rows in a slice. */
export function rowsOf(result: number): number {
  return result & ROWS_MASK;
}

/** Target duration of a slice. A run of a program occupies its CPU, so it should take less than half a millisecond. */
const SLICE_MS = 0.3;
const ROWS_MIN = 4;

/**
 * Runs the program for up to `count` rows and returns its result.
 * @param skip number of rows to skip from the start of the list
 * @param goesOn 1 to continue at the last row of the previous slice instead, if possible; 0 to skip rows
 */
export type RunSlice = (skip: number, count: number, goesOn: bigint) => number;

export interface WalkVisitor {
  /** Returns a key for row `index` of the last slice, such as a namespace cookie. Keys are never reused. */
  key(index: number): Counter;
  /** Called once for each entry. */
  row(index: number): void;
}

/**
 * Walks the kernel's list of network namespaces or processes in slices, so that no run occupies its CPU for long.
 * Visits each entry exactly once, even if other entries are added or removed between slices. A slice starts at the last
 * row of the previous slice, which the program has stored. If that row has been removed, or another walk has run in the
 * meantime, the program counts rows from the start of the list. Since removals move later entries forward, the walk
 * then goes back until it finds an entry that it has already visited.
 */
export class ListWalk {
  readonly #rowsMax: number;
  #rows: number;

  /**
   * @param rowsMax number of rows that fit into the program's map
   * @param rowsFirst positive number of rows in the first slice, before the cost of a row is known
   */
  constructor(rowsMax: number, rowsFirst: number) {
    this.#rowsMax = rowsMax;
    this.#rows = Math.max(ROWS_MIN, Math.min(rowsMax, Math.floor(rowsFirst)));
  }

  /**
   * Walks the whole list. A walk over namespaces also returns whether it started in the initial namespace, because the
   * flags of its first row do not show this.
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
      // The number of rows at most doubles with each slice. If a slice took long only because it was interrupted, the
      // number recovers in the next slices.
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
