import type { RowKey } from '#probe/metric.ts';
import type { EdgeLayout } from './edge_layout.ts';
import { type Place, placeOf, type Row, type Slot } from './edge_slot.ts';
import type { NestedLabel } from './nested_label.ts';
import type { RowCounts } from './row_counts.ts';
import type { SampleLabels } from './sample.ts';

/**
 * Maximum number of absent rows to remember, over all entities. A row is absent if the last collection did not contain
 * it.
 */
const ABSENT_MAX = 4_096;

/** Remembers the rows of all entities from one collection to the next. */
export class EdgeRows {
  readonly #layout: EdgeLayout;
  readonly #counts: RowCounts;
  readonly #nested: NestedLabel | undefined;
  readonly #star: Place;
  #rows = 0;
  #present = 0;
  /** Rows that the source deletes after this collection. They are dropped when the next collection starts. */
  #deleted: { readonly slot: Slot; readonly row: Row }[] = [];

  /** @param star placeholder for the labels of a row until they are known */
  constructor(layout: EdgeLayout, counts: RowCounts, nested: NestedLabel | undefined, star: Place) {
    this.#layout = layout;
    this.#counts = counts;
    this.#nested = nested;
    this.#star = star;
  }

  /** Starts a collection. Drops the rows that the source has deleted since the last one. */
  begin(): void {
    this.#present = 0;
    for (const { slot, row } of this.#deleted) if (slot.rows.get(row.key) === row) this.drop(slot, row);
    this.#deleted = [];
  }

  /**
   * Adds a row to the batch of its slot. `isSame` is set if the samples of the row have not changed since the last
   * collection, so that they need not be read.
   * @param version number that changes with the samples; undefined if the source has none
   * @param attempt number of this collection
   * @param committed number of the last collection that succeeded
   * @throws if a joint label is missing
   */
  take(
    slot: Slot,
    key: RowKey,
    labels: SampleLabels,
    version: number | undefined,
    attempt: number,
    committed: number,
  ): Row {
    let row = slot.rows.get(key);
    const isKnown = row !== undefined && row.labels === labels && row.seen === committed;
    if (row === undefined) {
      row = {
        key,
        block: this.#counts.take(),
        labels,
        place: this.#star,
        nested: undefined,
        gain: 0,
        version: undefined,
        nextVersion: undefined,
        isSame: false,
        isStill: false,
        countedIn: -1,
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
    row.isSame = isKnown && version !== undefined && version === row.version;
    row.nextVersion = version;
    if (row.seen !== attempt) {
      row.seen = attempt;
      slot.batch.push(row);
      this.#present++;
    }
    return row;
  }

  /** Calculates the growth of the rows in a batch since the last collection. */
  grow(slot: Slot): void {
    for (const row of slot.batch) {
      if (!row.isSame) row.gain = this.#counts.grow(row.block);
      else if (!row.isStill) row.gain = this.#counts.rest(row.block);
      row.isStill = row.isSame;
    }
  }

  /**
   * Notifies the source that the final counts of deleted rows were read. These rows are dropped when the next
   * collection starts.
   */
  settle(slot: Slot): void {
    for (const row of slot.batch) {
      row.version = row.nextVersion;
      if (!row.isLast) continue;
      this.#deleted.push({ slot, row });
      row.counted?.();
    }
  }

  drop(slot: Slot, row: Row): void {
    slot.rows.delete(row.key);
    this.#counts.release(row.block);
    this.#rows--;
  }

  /**
   * If more than {@link ABSENT_MAX} rows are absent, forgets those that have been absent longest. Keeps only half of
   * the limit, so that this is not necessary after every collection.
   */
  forgetAbsent(slots: Iterable<Slot>, attempt: number): void {
    if (this.#rows - this.#present <= ABSENT_MAX) return;
    const absent = [...slots].flatMap((slot) =>
      [...slot.rows.values()].flatMap((row) => (row.seen === attempt ? [] : [{ slot, row }])),
    );
    absent.sort((a, b) => a.row.seen - b.row.seen);
    for (const { slot, row } of absent.slice(0, absent.length - ABSENT_MAX / 2)) this.drop(slot, row);
  }

  #placeOf(labels: SampleLabels): Place {
    return placeOf(
      this.#layout.names.map((name) => {
        const value = labels[name];
        if (value === undefined) throw new Error(`a row has no label ${name}`);
        return value;
      }),
    );
  }
}
