import { subtractCounters } from '#core/counter.ts';
import { Births, type ScraperView } from './births.ts';
import { Cells } from './cells.ts';
import { CELL, type Column, type EdgeLayout } from './edge_layout.ts';
import type { Edge, Row, Slot } from './edge_slot.ts';
import type { RowCounts } from './row_counts.ts';
import { type SampleValue, zeroOf } from './sample.ts';

/**
 * Stores the totals of each shown edge, and tracks which totals are new. `Edges` selects the edge that a row is counted
 * under, and this class adds the counts.
 */
export class EdgeSeries {
  readonly #layout: EdgeLayout;
  readonly #counts: RowCounts;
  readonly #totals: Cells;
  /** New totals, by cell. The first cell of a histogram determines whether the histogram is shown at 0. */
  readonly #births = new Births<number>();
  /** Cells that have ever had a value in any block. Most causes of failures never occur. */
  readonly #used: Uint8Array;
  /** Cells of metrics that were not collected before. Their values are no new counts, so they are not shown at 0. */
  readonly late = new Set<number>();
  #nowMs = 0;

  constructor(layout: EdgeLayout, counts: RowCounts) {
    this.#layout = layout;
    this.#counts = counts;
    this.#totals = new Cells(layout.width);
    this.#used = new Uint8Array(layout.width);
  }

  /** Starts to apply a collection that succeeded. */
  commit(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#births.commit(nowMs);
  }

  /** Called when all series are hidden until the next commit. */
  away(): void {
    this.#births.away();
  }

  /** Allocates a block without values. */
  take(): number {
    return this.#totals.take();
  }

  release(block: number): void {
    this.#totals.release(block);
    for (let cell = 0; cell < this.#layout.width; cell++) this.#births.delete(block + cell);
  }

  renamed(edges: readonly Edge[], nowMs: number): void {
    if (this.#births.size === 0) return;
    for (const { block } of edges) {
      for (let cell = 0; cell < this.#layout.width; cell++) this.#births.holdAnew(block + cell, nowMs);
    }
  }

  /** Returns the value that a page shows; undefined if there is none. */
  shown({ block }: Edge, column: Column, view: ScraperView | undefined): SampleValue | undefined {
    const value = this.#layout.read(this.#totals, block, column);
    return value !== undefined && this.#births.isAtZero(block + column.at, view) ? zeroOf(value) : value;
  }

  /** Whether any edge may have a value in a column. */
  isUsed({ at }: Column): boolean {
    return this.#used[at] === 1;
  }

  hasValue({ block }: Edge, { at }: Column): boolean {
    return !this.#totals.isEmpty(block + at);
  }

  /** Returns the number of series of an edge. */
  countOf(edge: Edge): number {
    let series = 0;
    for (const { columns, cells } of this.#layout.metrics.values()) {
      for (const column of columns) if (this.hasValue(edge, column)) series += cells === 1 ? 1 : cells + 1;
    }
    return series;
  }

  /** Whether every scraper has had time to see all counts of an edge. */
  isSeen({ block }: Edge, nowMs: number): boolean {
    for (let cell = 0; cell < this.#layout.width; cell++)
      if (this.#births.isSpreading(block + cell, nowMs)) return false;
    return true;
  }

  clearGauges(edges: readonly Edge[]): void {
    for (const { block } of edges) for (const cell of this.#layout.gauges) this.#totals.clear(block + cell, 1);
  }

  /**
   * Adds the growth of a row to the series of `row.target`, or to `*` if the row has no target. Gauges are added to the
   * row's own edge while it is shown.
   */
  add(slot: Slot, row: Row): void {
    const { width, gauges } = this.#layout;
    const counted = (row.target ?? slot.rest).block;
    // The series exist already, and adding zero does not change them.
    if (row.isStill && row.countedIn === counted) {
      for (const cell of gauges) this.#addCell(slot, row, cell, counted);
      return;
    }
    for (let cell = 0; cell < width; cell++) this.#addCell(slot, row, cell, counted);
    row.countedIn = counted;
  }

  #addCell(slot: Slot, { block, edge }: Row, cell: number, counted: number): void {
    const grown = this.#counts.grown(block, cell);
    if (grown === undefined) return;
    const isGauge = this.#layout.kinds[cell] === CELL.gauge;
    const at = isGauge && edge?.isShown === true ? edge.block : counted;
    this.#bear(slot, at, cell);
    this.#used[cell] = 1;
    this.#totals.add(at + cell, grown);
  }

  /** Creates the series of an edge for which the given row has values. The new series start at zero. */
  zero(slot: Slot, { block }: Edge, row: Row): void {
    const { kinds, width } = this.#layout;
    for (let cell = 0; cell < width; cell++) {
      if (kinds[cell] === CELL.gauge || this.#counts.grown(row.block, cell) === undefined) continue;
      this.#bear(slot, block, cell);
      this.#used[cell] = 1;
      if (this.#totals.isEmpty(block + cell)) this.#totals.set(block + cell, 0);
    }
  }

  /** For each edge that moves out, transfers the growth of this collection to `*`, because no scraper has seen it. */
  takeBack(slot: Slot): void {
    const { kinds, width } = this.#layout;
    for (const row of slot.batch) {
      const { block, target } = row;
      if (target === undefined || target.isShown) continue;
      row.target = undefined;
      for (let cell = 0; cell < width; cell++) {
        const grown = this.#counts.grown(block, cell);
        if (grown === undefined || kinds[cell] === CELL.gauge) continue;
        const total = this.#totals.get(target.block + cell) ?? 0;
        this.#totals.set(target.block + cell, subtractCounters(total, grown));
        this.#bear(slot, slot.rest.block, cell);
        this.#totals.add(slot.rest.block + cell, grown);
      }
    }
  }

  /**
   * Adds the totals of an edge that moves out to `moved`, and releases its block. Totals that no scraper has seen are
   * added to `*` instead.
   */
  moveOut(slot: Slot, edge: Edge, moved: Edge): void {
    const { kinds, width } = this.#layout;
    for (let cell = 0; cell < width; cell++) {
      const value = this.#totals.get(edge.block + cell);
      if (value === undefined) continue;
      const isUnseen = this.#births.isUnseen(edge.block + cell);
      if (isUnseen) this.#bear(slot, slot.rest.block, cell);
      const to = isUnseen || kinds[cell] === CELL.gauge ? slot.rest : moved;
      this.#totals.add(to.block + cell, value);
    }
    this.release(edge.block);
    edge.block = -1;
  }

  /** Marks a counter as new if it is still empty. Must be called before a value is added to the counter. */
  #bear({ fromZero }: Slot, block: number, cell: number): void {
    if (!fromZero || this.late.has(cell)) return;
    if (this.#layout.kinds[cell] === CELL.gauge || !this.#totals.isEmpty(block + cell)) return;
    this.#births.add(block + cell, this.#nowMs);
  }
}
