import { addCounters, type Counter } from '#core/counter.ts';

const BLOCKS_FIRST = 64;

/**
 * Allocates blocks of counters, which all have the same width. An empty cell is NaN. An integer that a double cannot
 * represent exactly is stored in a map of bigints.
 */
export class Cells {
  readonly #width: number;
  #numbers: Float64Array;
  readonly #wide = new Map<number, bigint>();
  readonly #free: number[] = [];
  #end = 0;

  constructor(width: number) {
    this.#width = width;
    this.#numbers = new Float64Array(BLOCKS_FIRST * width).fill(Number.NaN);
  }

  /** Allocates an empty block. Returns the index of its first cell. */
  take(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const at = this.#end;
    this.#end += this.#width;
    if (this.#end > this.#numbers.length) {
      const numbers = new Float64Array(this.#numbers.length * 2).fill(Number.NaN);
      numbers.set(this.#numbers);
      this.#numbers = numbers;
    }
    return at;
  }

  release(at: number): void {
    this.clear(at, this.#width);
    this.#free.push(at);
  }

  isEmpty(cell: number): boolean {
    return this.get(cell) === undefined;
  }

  /** Returns undefined if the cell is empty. */
  get(cell: number): Counter | undefined {
    const value = this.#numbers[cell] as number;
    if (!Number.isNaN(value)) return value;
    return this.#wide.size === 0 ? undefined : this.#wide.get(cell);
  }

  set(cell: number, value: Counter): void {
    if (typeof value === 'bigint') {
      this.#wide.set(cell, value);
      this.#numbers[cell] = Number.NaN;
    } else {
      if (this.#wide.size > 0) this.#wide.delete(cell);
      this.#numbers[cell] = value;
    }
  }

  add(cell: number, value: Counter): void {
    const before = this.get(cell);
    this.set(cell, before === undefined ? value : addCounters(before, value));
  }

  clear(at: number, count: number): void {
    this.#numbers.fill(Number.NaN, at, at + count);
    if (this.#wide.size === 0) return;
    for (let cell = at; cell < at + count; cell++) this.#wide.delete(cell);
  }
}
