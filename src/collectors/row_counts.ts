import { type Counter, subtractCounters } from '#core/counter.ts';
import { Cells } from './cells.ts';
import { CELL, type EdgeLayout, type MetricColumns } from './edge_layout.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

/**
 * Counts of rows: for each row, the totals of the last collection and the totals of this collection. `grow` replaces
 * the totals of this collection by their growth.
 */
export class RowCounts {
  readonly #layout: EdgeLayout;
  readonly #cells: Cells;

  constructor(layout: EdgeLayout) {
    this.#layout = layout;
    this.#cells = new Cells(layout.width * 2);
  }

  take(): number {
    return this.#cells.take();
  }

  release(block: number): void {
    this.#cells.release(block);
  }

  /** Clears the totals of this collection. */
  begin(block: number): void {
    this.#cells.clear(block + this.#layout.width, this.#layout.width);
  }

  write(block: number, metric: MetricColumns, value: SampleValue, labels: SampleLabels): void {
    this.#layout.write(this.#cells, block + this.#layout.width, metric, value, labels);
  }

  /** Returns the growth of a cell, or the value of a gauge; undefined if this collection has no value for the cell. */
  grown(block: number, cell: number): Counter | undefined {
    return this.#cells.get(block + this.#layout.width + cell);
  }

  /**
   * Replaces the totals of this collection by their growth since the last collection.
   * @returns sum of the growth that edges are ranked by
   */
  grow(block: number): number {
    const { kinds, rank, width } = this.#layout;
    const cells = this.#cells;
    const isReset = this.#isReset(block);
    for (let cell = 0; cell < width; cell++) {
      if (kinds[cell] === CELL.gauge) continue;
      const now = cells.get(block + width + cell);
      if (now === undefined) continue;
      const before = isReset ? undefined : cells.get(block + cell);
      cells.set(block + cell, now);
      if (before !== undefined) cells.set(block + width + cell, now > before ? subtractCounters(now, before) : 0);
    }
    let gain = 0;
    for (const cell of rank) gain += Number(cells.get(block + width + cell) ?? 0);
    return gain;
  }

  /**
   * Sets the growth of all counters to zero. Gauges keep their values.
   * @returns sum of the growth that edges are ranked by, which is 0
   */
  rest(block: number): number {
    const { kinds, width } = this.#layout;
    for (let cell = 0; cell < width; cell++) {
      const at = block + width + cell;
      if (kinds[cell] !== CELL.gauge && !this.#cells.isEmpty(at)) this.#cells.set(at, 0);
    }
    return 0;
  }

  /** Whether a counter of the row has decreased. */
  #isReset(block: number): boolean {
    const { kinds, width } = this.#layout;
    for (let cell = 0; cell < width; cell++) {
      if (kinds[cell] !== CELL.counter) continue;
      const now = this.#cells.get(block + width + cell);
      const before = this.#cells.get(block + cell);
      if (now !== undefined && before !== undefined && now < before) return true;
    }
    return false;
  }
}
