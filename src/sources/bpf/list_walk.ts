import { netnsWalkResult } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';

/** The remaining bits of a slice's result are the number of its rows. */
const { done: DONE, starts_initial: STARTS_INITIAL } = netnsWalkResult;
const ROWS_MASK = ~(DONE | STARTS_INITIAL);

/** Returns the number of rows that a slice has written. */
export function rowsOf(result: number): number {
  return result & ROWS_MASK;
}

/** A program has its CPU to itself while it runs. Aim for less than the half millisecond that it may take. */
const SLICE_MS = 0.3;
const ROWS_MIN = 4;

/**
 * Runs the program for `count` rows from `skip` on, and returns its result.
 * @param goesOn 1: begin at the last row of the previous slice, where the program can; 0: count from the start
 */
export type RunSlice = (skip: number, count: number, goesOn: bigint) => number;

export interface WalkVisitor {
  /** Identity of row `index` of the last slice, which is never reused: a namespace's cookie, a process's number. */
  key(index: number): Counter;
  /** Called once for each entry. */
  row(index: number): void;
}

/**
 * Walks a list of the kernel, of all network namespaces or of all processes, in slices, so that no run holds its CPU for long. Each
 * entry is visited exactly once, though some come and go between slices. A slice starts at the last row of the previous one, which the
 * program remembers. Where that row is gone, or another walk has run meanwhile, its place is counted from the start: entries before it
 * may have gone and the rest have moved up, so the walk steps back until it meets a row that it knows.
 */
export class ListWalk {
  readonly #rowsMax: number;
  #rows: number;

  /**
   * @param rowsMax rows that the program has room for
   * @param rowsFirst rows of the first slice, before the cost of a row is known; any positive number, such as a share for each CPU
   */
  constructor(rowsMax: number, rowsFirst: number) {
    this.#rowsMax = rowsMax;
    this.#rows = Math.max(ROWS_MIN, Math.min(rowsMax, Math.floor(rowsFirst)));
  }

  /** Returns whether a walk over namespaces started in the initial one, which the flags of its first row do not say. */
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
      // One slow run, interrupted by others, must not shrink the slices forever: they grow back.
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
