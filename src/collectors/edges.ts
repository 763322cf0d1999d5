import type { JointBound, LooseRowReader, MetricSet } from '#probe/metric.ts';
import type { CountsFromZero, ScraperView } from './births.ts';
import { type Column, EdgeLayout, type MetricColumns } from './edge_layout.ts';
import { EdgeRows } from './edge_rows.ts';
import { EdgeSeries } from './edge_series.ts';
import { type Edge, newEdge, type Place, placeOf, type Row, type Slot, visibleOf } from './edge_slot.ts';
import type { VisitSample } from './family.ts';
import { NestedLabel } from './nested_label.ts';
import { OVERFLOW } from './open_label.ts';
import { decayOver, settle } from './ranking.ts';
import { RowCounts } from './row_counts.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

/**
 * Limits the number of edges of each entity. An edge is a combination of the values of several labels. Rows with the
 * same labels form one edge.
 *
 * The totals of rows are not shown. Instead, each collection adds the growth of a row to the series that the row
 * belongs to at that time. Counts that a scraper may have seen are never subtracted. This guarantees:
 *
 * 1. For each metric and each combination of its other labels, the series of an entity, including the series under `*`,
 *    add up to the counts of its rows at every scrape. The sum is exact for integers.
 * 2. A counter never decreases while it is shown.
 * 3. At most `max` edges are shown. The number of values of the nested label is limited for each combination of the
 *    other labels.
 * 4. The increases that Prometheus computes add up to the counts. Prometheus ignores the first value of a series, so a
 *    series that counts from zero is shown at 0 first. Moving an edge in or out does not change the sum of the
 *    increases.
 *
 * An edge that moves in leaves its earlier counts under `*` and starts at zero. An edge that is shown from the start
 * has no counts under `*`, and starts with its own counts. Before an edge moves out, it stops growing until every
 * scraper has seen its counts. During this time, its rows are counted under `*`. Its total cannot be added to `*`,
 * because rate() would count it twice. Instead, it is added to a third series, `*moved-N`. N is incremented whenever
 * edges move out, and the new series starts with the sum of all edges that have moved out so far. Counts that no
 * scraper has seen are added to `*` instead. An edge that moves in again starts at zero.
 *
 * A row whose labels change leaves its earlier counts under the old labels. A row that is absent from a collection is
 * remembered (`EdgeRows`), and continues from its last value when it reappears. The source reports which rows it
 * deletes. A decrease of a row's value means that the row was reset. A gauge is the sum of the rows in this collection.
 */
export class Edges {
  readonly layout: EdgeLayout;
  readonly #bound: JointBound;
  readonly #wants: (metric: string) => boolean;
  readonly #slots = new Map<number, Slot>();
  readonly #counts: RowCounts;
  readonly #series: EdgeSeries;
  readonly #rows: EdgeRows;
  readonly #star: Place;
  readonly #nested: NestedLabel | undefined;
  readonly #overflowed: () => void;
  readonly #fromZero: CountsFromZero;
  #detail: 'core' | 'full' = 'core';
  #max: number | undefined;
  #nestedMax: number | undefined;
  #level = 0;
  /** Number of collections that were started, including failed ones. */
  #attempt = 0;
  /** Metrics of the last collection. */
  #wanted: ReadonlySet<string> = new Set();
  #committed = 0;
  #committedMs: number | undefined;
  #only: ReadonlySet<number> | undefined;

  /**
   * @param wants whether a metric is shown; metrics that edges are ranked by are collected even if they are not shown
   * @param overflowed called once for each new edge that is not shown because of the limit
   * @param fromZero whether new rows of an entity count from zero; by default, no series is shown at 0 first
   * @throws if the descriptors are inconsistent
   */
  constructor(
    metrics: MetricSet,
    bound: JointBound,
    wants: (metric: string) => boolean,
    overflowed: () => void = () => undefined,
    fromZero: CountsFromZero = () => false,
  ) {
    this.#overflowed = overflowed;
    this.#fromZero = fromZero;
    this.layout = new EdgeLayout(metrics, bound);
    this.#bound = bound;
    this.#wants = wants;
    this.#counts = new RowCounts(this.layout);
    this.#series = new EdgeSeries(this.layout, this.#counts);
    this.#star = placeOf(this.layout.names.map(() => OVERFLOW));
    this.#nested = this.layout.nested && new NestedLabel(this.layout.nested);
    this.#rows = new EdgeRows(this.layout, this.#counts, this.#nested, this.#star);
  }

  set detail(detail: 'core' | 'full') {
    this.#detail = detail;
  }

  /**
   * Starts a collection.
   * @param only slots that are shown until the next collection; undefined for all slots
   */
  begin(only?: ReadonlySet<number>): void {
    this.#only = only;
    this.#attempt++;
    this.#rows.begin();
  }

  /**
   * Reads the rows of this collection.
   * @param slotOf returns the slot of a row's entity; undefined if the row is to be dropped
   * @param labelsOf returns the joint labels of a row
   */
  take<Row>(
    rows: Iterable<Row>,
    reader: LooseRowReader<Row>,
    slotOf: (row: Row) => number | undefined,
    labelsOf = (row: Row) => reader.labels(row),
  ): void {
    this.#max = reader.max;
    this.#nestedMax = reader.labelMax;
    let block = 0;
    const taken = new Map(
      [...this.layout.metrics].filter(([key]) => this.#wants(key) || this.#bound.rank.includes(key)),
    );
    const hasVersions = this.#want(taken);
    const put = (key: string, value: SampleValue, labels: SampleLabels) => {
      const metric = taken.get(key);
      if (metric !== undefined) this.#counts.write(block, metric, value, labels);
      else if (!this.layout.metrics.has(key)) throw new Error(`${key} is not a metric of this bound`);
    };
    for (const given of rows) {
      const index = slotOf(given);
      if (index === undefined) continue;
      const slot = this.#slot(index);
      const version = hasVersions ? reader.version?.(given) : undefined;
      const labels = labelsOf(given);
      const row = this.#rows.take(slot, reader.key(given), labels, version, this.#attempt, this.#committed);
      row.isLast = reader.isLast?.(given) === true;
      row.counted = row.isLast ? () => reader.counted?.(given) : undefined;
      if (row.isSame) continue;
      block = row.block;
      this.#counts.begin(block);
      reader.samples(given, put);
    }
  }

  /** Sets the metrics of a collection. Returns whether they are those of the last collection. */
  #want(metrics: ReadonlyMap<string, MetricColumns>): boolean {
    const before = this.#wanted;
    this.#wanted = new Set(metrics.keys());
    const added = [...metrics].filter(([key]) => !before.has(key));
    for (const [, { columns, cells }] of before.size === 0 ? [] : added) {
      for (const { at } of columns) for (let cell = 0; cell < cells; cell++) this.#series.late.add(at + cell);
    }
    return added.length === 0 && before.size === metrics.size;
  }

  commit(nowMs: number): void {
    const decay = decayOver(nowMs - (this.#committedMs ?? nowMs));
    this.#committedMs = nowMs;
    this.#series.commit(nowMs);
    for (const slot of this.#slots.values()) {
      const hasRows = slot.batchOf === this.#attempt;
      if (!hasRows) slot.batch.length = 0;
      if (!hasRows && slot.isRetired) continue;
      this.#commitSlot(slot, decay, nowMs);
    }
    this.#series.late.clear();
    this.#committed = this.#attempt;
    this.#rows.forgetAbsent(this.#slots.values(), this.#attempt);
  }

  /** Hides everything until the next commit. */
  clear(): void {
    this.#series.away();
  }

  /**
   * Halves the limits `level` times. The new limits apply immediately or, if the last collection failed, at the next
   * commit.
   * @returns number of series that were folded into `*`
   */
  fold(level: number): number {
    this.#level = level;
    if (this.#committed !== this.#attempt) return 0;
    let folded = 0;
    for (const slot of this.#slots.values()) {
      const shown = [...slot.edges.values()].filter(({ isShown }) => isShown);
      const { left } = settle(shown, this.#edgesMax, this.#committedMs ?? 0);
      for (const edge of left) folded += this.#series.countOf(edge);
      if (left.length > 0 && slot.batchOf === this.#committed) this.#series.takeBack(slot);
      this.#moveOut(slot, left);
    }
    return folded;
  }

  retire(index: number): void {
    const slot = this.#slots.get(index);
    if (slot !== undefined) slot.isRetired = true;
  }

  forget(index: number): void {
    const slot = this.#slots.get(index);
    if (slot === undefined) return;
    this.#slots.delete(index);
    for (const row of slot.rows.values()) this.#rows.drop(slot, row);
    for (const { block } of slot.visible) this.#series.release(block);
  }

  /** Forgets everything, as if the agent had been restarted. */
  reset(): void {
    for (const index of [...this.#slots.keys()]) this.forget(index);
  }

  renamed(index: number, nowMs: number): void {
    this.#series.renamed(this.#slots.get(index)?.visible ?? [], nowMs);
  }

  /**
   * Visits the shown series of a metric.
   * @param view set if the page is for a scraper
   */
  visit(metric: string, visit: VisitSample, view?: ScraperView): void {
    for (const column of this.layout.metrics.get(metric)?.columns ?? []) {
      if (!this.#series.isUsed(column)) continue;
      for (const { index, visible } of this.#shownSlots) {
        for (const edge of visible) {
          const value = this.#series.shown(edge, column, view);
          if (value !== undefined) visit(index, this.#labelsOf(edge, column), value);
        }
      }
    }
  }

  /** Returns the number of shown rows of a metric. */
  rowsOf(metric: string): number {
    let count = 0;
    for (const column of this.layout.metrics.get(metric)?.columns ?? []) {
      if (!this.#series.isUsed(column)) continue;
      for (const { visible } of this.#shownSlots) {
        for (const edge of visible) if (this.#series.hasValue(edge, column)) count++;
      }
    }
    return count;
  }

  get #shownSlots(): Iterable<Slot> {
    const only = this.#only;
    const slots = this.#slots.values();
    return only === undefined ? slots : [...slots].filter(({ index }) => only.has(index));
  }

  get #edgesMax(): number {
    return (this.#max ?? this.#bound.max[this.#detail]) >> this.#level;
  }

  #labelsOf(edge: Edge, column: Column): Uint8Array {
    let labels = edge.rendered[column.shape];
    if (labels === undefined) {
      labels = this.layout.render(column, edge.values);
      edge.rendered[column.shape] = labels;
    }
    return labels;
  }

  #slot(index: number): Slot {
    let slot = this.#slots.get(index);
    if (slot === undefined) {
      const rest = { ...newEdge(this.#star), block: this.#series.take(), isShown: true };
      slot = {
        index,
        fromZero: false,
        rows: new Map(),
        edges: new Map(),
        nested: new Map(),
        rest,
        visible: [rest],
        moved: undefined,
        moves: 0,
        batch: [],
        batchOf: 0,
        isRetired: false,
      };
      this.#slots.set(index, slot);
    }
    if (slot.batchOf !== this.#attempt) {
      slot.batch.length = 0;
      slot.batchOf = this.#attempt;
    }
    return slot;
  }

  #commitSlot(slot: Slot, decay: number, nowMs: number): void {
    this.#age(slot, decay);
    this.#rows.grow(slot);
    const mayLeave = (edge: Edge) => this.#series.isSeen(edge, nowMs);
    const promote = (place: Place, score: number) => {
      this.#edge(slot, place, score).isNew = false;
    };
    const withdrawn = this.#nested?.settle(slot, this.#nestedMax, this.#attempt, nowMs, promote, mayLeave) ?? [];
    this.#findEdges(slot);
    const { entered, left } = settle(slot.edges, this.#edgesMax, nowMs, mayLeave);
    for (const edge of entered) {
      edge.block = this.#series.take();
      edge.entered = this.#attempt;
    }
    this.#moveOut(slot, [...withdrawn, ...left]);
    if (entered.length > 0) slot.visible = visibleOf(slot);
    if (slot.batch.length > 0) slot.fromZero = this.#fromZero(slot.index);
    for (const row of slot.batch) this.#add(slot, row);
    for (const edge of slot.edges.values()) {
      if (edge.isNew && !edge.isShown) this.#overflowed();
      edge.isNew = false;
    }
    this.#rows.settle(slot);
  }

  #age(slot: Slot, decay: number): void {
    for (const edge of slot.edges.values()) edge.score *= decay;
    this.#nested?.age(slot, decay);
    this.#series.clearGauges(slot.visible);
  }

  /** Assigns each row to its edge. Removes edges that have no rows and are not shown. */
  #findEdges(slot: Slot): void {
    for (const row of slot.batch) {
      row.edge = this.#edgeOf(slot, row);
      if (row.edge === undefined) continue;
      row.edge.score += row.gain;
      // Rows share the labels of their edge, to save memory.
      if (row.edge.key === row.place.key) row.place = row.edge;
    }
    for (const { key, isShown, used } of slot.edges.values()) {
      if (!isShown && used !== this.#attempt) slot.edges.delete(key);
    }
  }

  /** Returns the edge that a row is counted under in this collection; undefined if the row is counted under `*`. */
  #edgeOf(slot: Slot, { place, nested }: Row): Edge | undefined {
    const isOwn =
      nested === undefined || (nested.isShown && nested.sealedMs === undefined && nested.bornAtZero !== this.#attempt);
    const counts = isOwn ? place : nested.rest;
    return counts.key === this.#star.key ? undefined : this.#edge(slot, counts, 0);
  }

  #edge(slot: Slot, place: Place, score: number): Edge {
    let edge = slot.edges.get(place.key);
    if (edge === undefined) {
      edge = { ...newEdge(place), score };
      slot.edges.set(place.key, edge);
    }
    edge.used = this.#attempt;
    return edge;
  }

  /** Adds the growth of a row to the series that the row is counted under in this collection. */
  #add(slot: Slot, row: Row): void {
    const { edge, nested } = row;
    const isShown = edge?.isShown === true;
    const isBorn = isShown && edge.entered === this.#attempt && !edge.isNew;
    row.target = isShown && !isBorn && edge.sealedMs === undefined ? edge : undefined;
    const own = nested === undefined ? undefined : slot.edges.get(nested.own.key);
    if (isBorn) this.#series.zero(slot, edge, row);
    if (own !== undefined && own !== edge && own.isShown && own.entered === this.#attempt)
      this.#series.zero(slot, own, row);
    this.#series.add(slot, row);
  }

  #moveOut(slot: Slot, left: readonly Edge[]): void {
    if (left.length === 0) return;
    slot.moves++;
    const moved = {
      ...newEdge(placeOf(this.layout.names.map(() => `${OVERFLOW}moved-${slot.moves}`))),
      block: slot.moved?.block ?? this.#series.take(),
      isShown: true,
    };
    slot.moved = moved;
    for (const edge of left) this.#series.moveOut(slot, edge, moved);
    slot.visible = visibleOf(slot);
  }
}
