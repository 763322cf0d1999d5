import { subtractCounters } from '#core/counter.ts';
import type { JointBound, LooseRowReader, MetricSet, RowKey } from '#probe/metric.ts';
import { Births, type CountsFromZero, type ScraperView } from './births.ts';
import { Cells } from './cells.ts';
import { CELL, type Column, EdgeLayout } from './edge_layout.ts';
import { type Edge, newEdge, type Place, placeOf, type Row, type Slot, visibleOf } from './edge_slot.ts';
import type { VisitSample } from './family.ts';
import { NestedLabel } from './nested_label.ts';
import { OVERFLOW } from './open_label.ts';
import { decayOver, settle } from './ranking.ts';
import { RowCounts } from './row_counts.ts';
import { type SampleLabels, type SampleValue, zeroOf } from './sample.ts';

/**
 * Maximum number of absent rows to remember, over all entities. A row is absent if the last collection did not contain
 * it.
 */
const ABSENT_MAX = 4_096;

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
 * An edge that moves in leaves its earlier counts under `*` and starts at zero. An edge that gets a place immediately
 * was never under `*`, and starts with its counts. Before an edge moves out, it stops growing until every scraper has
 * seen its counts. During this time, its rows are counted under `*`. Its total cannot be added to `*`, because rate()
 * would count it twice. Instead, it is added to a third series, `*moved-N`. N increases each time edges move out, and
 * the new series starts with the sum of all edges that have moved out so far. Counts that no scraper has seen are added
 * to `*` instead. An edge that moves in again starts at zero.
 *
 * A row whose labels change leaves its earlier counts under the old labels. A row that is absent from a collection is
 * remembered, and continues from its last value when it reappears. The totals of at most {@link ABSENT_MAX} absent rows
 * are kept. The source reports which rows it deletes. A row whose value decreases was reset. A gauge is the sum of the
 * rows in this collection.
 */
export class Edges {
  readonly layout: EdgeLayout;
  readonly #bound: JointBound;
  readonly #wants: (metric: string) => boolean;
  readonly #slots = new Map<number, Slot>();
  readonly #totals: Cells;
  readonly #counts: RowCounts;
  readonly #star: Place;
  readonly #nested: NestedLabel | undefined;
  readonly #overflowed: () => void;
  readonly #fromZero: CountsFromZero;
  /** Births, by cell. The first cell of a histogram determines whether the histogram is shown at 0. */
  readonly #births = new Births<number>();
  #detail: 'core' | 'full' = 'core';
  #max: number | undefined;
  #nestedMax: number | undefined;
  #level = 0;
  /** Number of collections that were started, including failed ones. */
  #attempt = 0;
  #committed = 0;
  #committedMs: number | undefined;
  #rows = 0;
  #present = 0;
  #only: ReadonlySet<number> | undefined;
  /** Rows that the source deletes after the last collection. */
  #deleted: { readonly slot: Slot; readonly row: Row }[] = [];

  /**
   * @param wants whether a metric is shown; metrics that edges are ranked by are collected even if they are not shown
   * @param overflowed called once for each new edge that gets no place
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
    this.#totals = new Cells(this.layout.width);
    this.#counts = new RowCounts(this.layout);
    this.#star = placeOf(this.layout.names.map(() => OVERFLOW));
    this.#nested = this.layout.nested && new NestedLabel(this.layout.nested);
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
    this.#present = 0;
    for (const { slot, row } of this.#deleted) if (slot.rows.get(row.key) === row) this.#drop(slot, row);
    this.#deleted = [];
  }

  /**
   * Reads the rows of this collection.
   * @param slotOf returns the slot of a row's entity; undefined if the row is to be dropped
   */
  take<Row>(rows: Iterable<Row>, reader: LooseRowReader<Row>, slotOf: (row: Row) => number | undefined): void {
    this.#max = reader.max;
    this.#nestedMax = reader.labelMax;
    let block = 0;
    const taken = new Map(
      [...this.layout.metrics].filter(([key]) => this.#wants(key) || this.#bound.rank.includes(key)),
    );
    const put = (key: string, value: SampleValue, labels: SampleLabels) => {
      const metric = taken.get(key);
      if (metric !== undefined) this.#counts.write(block, metric, value, labels);
      else if (!this.layout.metrics.has(key)) throw new Error(`${key} is not a metric of this bound`);
    };
    for (const given of rows) {
      const index = slotOf(given);
      if (index === undefined) continue;
      const slot = this.#slot(index);
      const row = this.#row(slot, reader.key(given), reader.labels(given));
      row.isLast = reader.isLast?.(given) === true;
      row.counted = row.isLast ? () => reader.counted?.(given) : undefined;
      block = row.block;
      this.#counts.begin(block);
      reader.samples(given, put);
    }
  }

  commit(nowMs: number): void {
    const decay = decayOver(nowMs - (this.#committedMs ?? nowMs));
    this.#committedMs = nowMs;
    this.#births.commit(nowMs);
    for (const slot of this.#slots.values()) {
      const hasRows = slot.batchOf === this.#attempt;
      if (!hasRows) slot.batch.length = 0;
      if (!hasRows && slot.isRetired) continue;
      this.#commitSlot(slot, decay, nowMs);
    }
    this.#committed = this.#attempt;
    if (this.#rows - this.#present > ABSENT_MAX) this.#forgetAbsent();
  }

  /** Hides everything until the next commit. */
  clear(): void {
    this.#births.away();
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
      for (const edge of left) folded += this.#seriesOf(edge);
      if (left.length > 0) this.#takeBack(slot);
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
    for (const row of slot.rows.values()) this.#drop(slot, row);
    for (const { block } of slot.visible) this.#release(block);
  }

  renamed(index: number, nowMs: number): void {
    if (this.#births.size === 0) return;
    for (const { block } of this.#slots.get(index)?.visible ?? []) {
      for (let cell = 0; cell < this.layout.width; cell++) this.#births.holdAnew(block + cell, nowMs);
    }
  }

  /**
   * Visits the shown series of a metric.
   * @param view set if the page is for a scraper
   */
  visit(metric: string, visit: VisitSample, view?: ScraperView): void {
    for (const column of this.layout.metrics.get(metric)?.columns ?? []) {
      for (const [index, slot] of this.#shownSlots) {
        for (const edge of slot.visible) {
          const value = this.layout.read(this.#totals, edge.block, column);
          if (value === undefined) continue;
          const isAtZero = this.#births.isAtZero(edge.block + column.at, view);
          visit(index, this.#labelsOf(edge, column), isAtZero ? zeroOf(value) : value);
        }
      }
    }
  }

  /** Returns the number of shown rows of a metric. */
  rowsOf(metric: string): number {
    let count = 0;
    const columns = this.layout.metrics.get(metric)?.columns ?? [];
    for (const [, slot] of this.#shownSlots) {
      for (const { block } of slot.visible) {
        for (const { at } of columns) if (!this.#totals.isEmpty(block + at)) count++;
      }
    }
    return count;
  }

  get #shownSlots(): Iterable<readonly [number, Slot]> {
    const only = this.#only;
    return only === undefined ? this.#slots : [...this.#slots].filter(([index]) => only.has(index));
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

  #seriesOf({ block }: Edge): number {
    let series = 0;
    for (const { columns, cells } of this.layout.metrics.values()) {
      for (const { at } of columns) if (!this.#totals.isEmpty(block + at)) series += cells === 1 ? 1 : cells + 1;
    }
    return series;
  }

  #slot(index: number): Slot {
    let slot = this.#slots.get(index);
    if (slot === undefined) {
      const rest = { ...newEdge(this.#star), block: this.#totals.take(), isShown: true };
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

  #row(slot: Slot, key: RowKey, labels: SampleLabels): Row {
    let row = slot.rows.get(key);
    const isKnown = row !== undefined && row.labels === labels && row.seen === this.#committed;
    if (row === undefined) {
      row = {
        key,
        block: this.#counts.take(),
        labels,
        place: this.#star,
        nested: undefined,
        gain: 0,
        isLast: false,
        counted: undefined,
        seen: 0,
        edge: undefined,
        target: undefined,
      };
      slot.rows.set(key, row);
      this.#rows++;
    }
    if (!isKnown) {
      row.labels = labels;
      row.place = this.#placeOf(labels);
      row.nested = this.#nested?.valueOf(slot, row.place);
    }
    if (row.seen !== this.#attempt) {
      row.seen = this.#attempt;
      slot.batch.push(row);
      this.#present++;
    }
    return row;
  }

  #placeOf(labels: SampleLabels): Place {
    return placeOf(
      this.layout.names.map((name) => {
        const value = labels[name];
        if (value === undefined) throw new Error(`a row has no label ${name}`);
        return value;
      }),
    );
  }

  #commitSlot(slot: Slot, decay: number, nowMs: number): void {
    this.#age(slot, decay);
    for (const row of slot.batch) row.gain = this.#counts.grow(row.block);
    const mayLeave = (edge: Edge) => this.#isSeen(edge, nowMs);
    const promote = (place: Place, score: number) => {
      this.#edge(slot, place, score).isNew = false;
    };
    const withdrawn = this.#nested?.settle(slot, this.#nestedMax, this.#attempt, nowMs, promote, mayLeave) ?? [];
    this.#findEdges(slot);
    const { entered, left } = settle(slot.edges.values(), this.#edgesMax, nowMs, mayLeave);
    for (const edge of entered) {
      edge.block = this.#totals.take();
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
    for (const row of slot.batch) {
      if (!row.isLast) continue;
      this.#deleted.push({ slot, row });
      row.counted?.();
    }
  }

  #age(slot: Slot, decay: number): void {
    for (const edge of slot.edges.values()) edge.score *= decay;
    this.#nested?.age(slot, decay);
    for (const edge of slot.visible) for (const cell of this.layout.gauges) this.#totals.clear(edge.block + cell, 1);
  }

  /** Assigns each row to its edge. Removes edges that have neither rows nor a place. */
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
    const { block, edge, nested } = row;
    const isShown = edge?.isShown === true;
    const isBorn = isShown && edge.entered === this.#attempt && !edge.isNew;
    row.target = isShown && !isBorn && edge.sealedMs === undefined ? edge : undefined;
    const target = (row.target ?? slot.rest).block;
    const own = nested === undefined ? undefined : slot.edges.get(nested.own.key);
    if (isBorn) this.#zero(slot, edge, block);
    if (own !== undefined && own !== edge && own.isShown && own.entered === this.#attempt) this.#zero(slot, own, block);
    const { kinds, width } = this.layout;
    for (let cell = 0; cell < width; cell++) {
      const grown = this.#counts.grown(block, cell);
      if (grown === undefined) continue;
      const at = kinds[cell] === CELL.gauge && isShown ? edge.block : target;
      this.#bear(slot, at, cell);
      this.#totals.add(at + cell, grown);
    }
  }

  /** Records the birth of a counter that is still empty. Must be called before a value is added to the counter. */
  #bear({ fromZero }: Slot, block: number, cell: number): void {
    if (!fromZero || this.layout.kinds[cell] === CELL.gauge || !this.#totals.isEmpty(block + cell)) return;
    this.#births.add(block + cell, this.#committedMs ?? 0);
  }

  /** Whether every scraper has had time to see all counts of an edge. */
  #isSeen({ block }: Edge, nowMs: number): boolean {
    for (let cell = 0; cell < this.layout.width; cell++)
      if (this.#births.isSpreading(block + cell, nowMs)) return false;
    return true;
  }

  #release(block: number): void {
    this.#totals.release(block);
    for (let cell = 0; cell < this.layout.width; cell++) this.#births.delete(block + cell);
  }

  /** Creates the series of an edge for which the given row has values. The new series start at zero. */
  #zero(slot: Slot, { block }: Edge, row: number): void {
    const { kinds, width } = this.layout;
    for (let cell = 0; cell < width; cell++) {
      if (kinds[cell] === CELL.gauge || this.#counts.grown(row, cell) === undefined) continue;
      this.#bear(slot, block, cell);
      if (this.#totals.isEmpty(block + cell)) this.#totals.set(block + cell, 0);
    }
  }

  /** Moves the growth of this collection from edges that move out to `*`, because no scraper has seen it. */
  #takeBack(slot: Slot): void {
    const { kinds, width } = this.layout;
    if (slot.batchOf !== this.#committed) return;
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

  #moveOut(slot: Slot, left: readonly Edge[]): void {
    if (left.length === 0) return;
    const { kinds, width, names } = this.layout;
    slot.moves++;
    const moved = {
      ...newEdge(placeOf(names.map(() => `${OVERFLOW}moved-${slot.moves}`))),
      block: slot.moved?.block ?? this.#totals.take(),
      isShown: true,
    };
    slot.moved = moved;
    for (const edge of left) {
      for (let cell = 0; cell < width; cell++) {
        const value = this.#totals.get(edge.block + cell);
        if (value === undefined) continue;
        const isUnseen = this.#births.isUnseen(edge.block + cell);
        if (isUnseen) this.#bear(slot, slot.rest.block, cell);
        const to = isUnseen || kinds[cell] === CELL.gauge ? slot.rest : moved;
        this.#totals.add(to.block + cell, value);
      }
      this.#release(edge.block);
      edge.block = -1;
    }
    slot.visible = visibleOf(slot);
  }

  #drop(slot: Slot, row: Row): void {
    slot.rows.delete(row.key);
    this.#counts.release(row.block);
    this.#rows--;
  }

  /**
   * Forgets the rows that have been absent for longest. Keeps only half of the limit, so that this is not necessary in
   * each collection.
   */
  #forgetAbsent(): void {
    const absent = [...this.#slots.values()].flatMap((slot) =>
      [...slot.rows.values()].flatMap((row) => (row.seen === this.#attempt ? [] : [{ slot, row }])),
    );
    absent.sort((a, b) => a.row.seen - b.row.seen);
    for (const { slot, row } of absent.slice(0, absent.length - ABSENT_MAX / 2)) this.#drop(slot, row);
  }
}
