import type { NetnsId } from '#core/netns.ts';
import { DepartedEdges } from '#probe/departed_edges.ts';
import type { FlowEdges } from '#probe/flow_edges.ts';
import type { FlowRow } from '#probe/flow_row.ts';
import { addTotals } from '#probe/flow_sums.ts';
import { edgeTotals } from './flow_api.ts';

/** Edges of the last collection, for the API. */
export class CollectedEdges {
  readonly #subjectOf: (row: FlowRow) => NetnsId;
  readonly #perSecond: number;
  readonly #departed = new DepartedEdges(addTotals);
  readonly #added = new WeakSet<FlowRow>();
  readonly #isForgotten: (netns: NetnsId) => boolean;
  #last: FlowEdges | undefined;

  /**
   * @param perSecond jiffies per second
   * @param isForgotten returns whether nothing is known any more about the owner of a namespace
   */
  constructor(subjectOf: (row: FlowRow) => NetnsId, perSecond: number, isForgotten: (netns: NetnsId) => boolean) {
    this.#isForgotten = isForgotten;
    this.#subjectOf = subjectOf;
    this.#perSecond = perSecond;
  }

  /** Edges; undefined before the first collection. */
  get last(): FlowEdges | undefined {
    return this.#last;
  }

  /** @param rows all rows of a collection */
  take(rows: readonly FlowRow[]): void {
    for (const row of rows) if (row.isLast) this.#add(row);
    this.#departed.forget(this.#isForgotten);
    const toTotals = (row: FlowRow) => edgeTotals(row, this.#subjectOf(row), this.#perSecond);
    const live = rows.filter(({ isLast }) => !isLast);
    this.#last = {
      collectedAtMs: Date.now(),
      // Edges are computed during the iteration, because most collections are for a metrics page, which does not use
      // them.
      edges: {
        *[Symbol.iterator]() {
          for (const row of live) {
            const edge = toTotals(row);
            if (edge !== undefined) yield edge;
          }
        },
      },
      departed: this.#departed,
    };
  }

  #add(row: FlowRow): void {
    if (this.#added.has(row)) return;
    this.#added.add(row);
    const totals = edgeTotals(row, this.#subjectOf(row), this.#perSecond);
    if (totals !== undefined) this.#departed.add(totals);
  }
}
