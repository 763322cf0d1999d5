import type { RowKey } from '#probe/metric.ts';
import type { Ranked } from './ranking.ts';
import type { SampleLabels } from './sample.ts';

/** A combination of values of the joint labels, which rows are counted under. */
export interface Place {
  readonly key: string;
  /** Values in the order of the layout's names. */
  readonly values: readonly string[];
}

export interface Edge extends Ranked, Place {
  /** Block with its totals while it is shown, otherwise -1. */
  block: number;
  /** Whether it first appears in this collection, so that none of its counts are under `*`. */
  isNew: boolean;
  /** Number of the last collection in which it had a row. */
  used: number;
  /** Number of the collection in which it got its place. */
  entered: number;
  /** Rendered labels, by shape of a column. */
  readonly rendered: Uint8Array[];
}

/** A value of the nested label, within one combination of the other labels. */
export interface Nested extends Ranked {
  readonly own: Place;
  /** Combination with `*` for this value, which rows are counted under while the value has no place. */
  readonly rest: Place;
  /** Whether it first appears in this collection. */
  isNew: boolean;
  used: number;
  /** Number of the collection in which it got a place after it was counted under `rest`. In that collection, it still counts there. */
  bornAtZero: number;
}

export interface Row {
  readonly key: RowKey;
  /** Two blocks: the totals of the last collection, and those of this one, which are then replaced by the growth. */
  readonly block: number;
  labels: SampleLabels;
  place: Place;
  nested: Nested | undefined;
  gain: number;
  isLast: boolean;
  /** Tells the source that the counts of its last row are taken. */
  counted: (() => void) | undefined;
  /** Number of the last collection that had it. */
  seen: number;
  edge: Edge | undefined;
  /** Edge that its growth was added to; undefined for `*`. */
  target: Edge | undefined;
}

/** The edges of one entity. */
export interface Slot {
  /** Slot of the entity. */
  readonly index: number;
  /** Whether its new series count from zero, so that they are shown at 0 first. */
  fromZero: boolean;
  readonly rows: Map<RowKey, Row>;
  readonly edges: Map<string, Edge>;
  /** Values of the nested label, by the key of the other joint labels. */
  readonly nested: Map<string, Map<string, Nested>>;
  readonly rest: Edge;
  /** Sum of the edges that were moved out. */
  moved: Edge | undefined;
  moves: number;
  /** Edges on the page: those with a place, `*`, and the edges that were moved out. */
  visible: readonly Edge[];
  /** Rows of this collection. */
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
