import type { RowKey } from '#probe/metric.ts';
import type { Ranked } from './ranking.ts';
import type { SampleLabels } from './sample.ts';

/** A combination of values of the joint labels, under which rows are counted. */
export interface Place {
  readonly key: string;
  /** Values in the order of the layout's names. */
  readonly values: readonly string[];
}

export interface Edge extends Ranked, Place {
  /** Block with the totals of the edge while it is shown, otherwise -1. */
  block: number;
  /** Whether the edge first appears in this collection, so that none of its counts are under `*`. */
  isNew: boolean;
  /** Number of the last collection in which the edge had a row. */
  used: number;
  /** Number of the collection in which the edge was last added to the page. */
  entered: number;
  /** Rendered labels, by the shape of the column. */
  readonly rendered: Uint8Array[];
}

/** A value of the nested label, within one combination of the other joint labels. */
export interface Nested extends Ranked {
  readonly own: Place;
  /** The same combination with `*` in place of this value. Rows are counted under it while the value is not shown. */
  readonly rest: Place;
  /** Whether the value first appears in this collection. */
  isNew: boolean;
  used: number;
  /**
   * Number of the collection in which the value was added to the page after it had been counted under `rest`. In that
   * collection, its rows are still counted under `rest`.
   */
  bornAtZero: number;
}

export interface Row {
  readonly key: RowKey;
  /**
   * Index of two adjacent blocks. The first one contains the totals of the last collection. The second one contains the
   * totals of this collection, which are then replaced by their growth.
   */
  readonly block: number;
  labels: SampleLabels;
  place: Place;
  nested: Nested | undefined;
  gain: number;
  /** Version of the samples that the totals of the last collection were read from; undefined if the source has none. */
  version: number | undefined;
  /** Version of the samples in this collection. */
  nextVersion: number | undefined;
  /** Whether the samples have not changed since the last collection, so that nothing has grown. */
  isSame: boolean;
  /** Whether the growth in the second block is zero. */
  isStill: boolean;
  /** Block that the growth of the last collection was added to; -1 if there was none. */
  countedIn: number;
  isLast: boolean;
  /**
   * Notifies the source that the final counts of the row have been read; undefined unless the source deletes the row.
   */
  counted: (() => void) | undefined;
  /** Number of the last collection that contained the row. */
  seen: number;
  edge: Edge | undefined;
  /** Edge that the growth of the row was added to; undefined if it was added to `*`. */
  target: Edge | undefined;
}

/** The edges of one entity. */
export interface Slot {
  /** Slot index of the entity. */
  readonly index: number;
  /** Whether new series of the entity count from zero, so that they are shown at 0 first. */
  fromZero: boolean;
  readonly rows: Map<RowKey, Row>;
  readonly edges: Map<string, Edge>;
  /** Values of the nested label, by the key of `rest` and then by the key of `own`. */
  readonly nested: Map<string, Map<string, Nested>>;
  readonly rest: Edge;
  /** Sum of all edges that have moved out; undefined if none has. */
  moved: Edge | undefined;
  moves: number;
  /** Edges on the page: all edges with `isShown`, `rest` and, if defined, `moved`. */
  visible: readonly Edge[];
  /** Rows that this collection contains. */
  readonly batch: Row[];
  batchOf: number;
  isRetired: boolean;
}

export function newEdge({ key, values }: Place): Edge {
  return {
    key,
    values,
    score: 0,
    isShown: false,
    leadsSinceMs: undefined,
    sealedMs: undefined,
    block: -1,
    isNew: true,
    used: 0,
    entered: 0,
    rendered: [],
  };
}

export function placeOf(values: readonly string[]): Place {
  return { key: values.join('\0'), values };
}

export function visibleOf({ edges, rest, moved }: Slot): Edge[] {
  const visible = [...edges.values()].filter(({ isShown }) => isShown);
  return moved === undefined ? [...visible, rest] : [...visible, rest, moved];
}
