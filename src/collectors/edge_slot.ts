import type { RowKey } from '#probe/metric.ts';
import type { Ranked } from './ranking.ts';
import type { SampleLabels } from './sample.ts';

/** Labels under which a row counts: a combination of the values of the joint labels. */
export interface Place {
  readonly key: string;
  /** Values in the order of the names in the layout. */
  readonly values: readonly string[];
}

export interface Edge extends Ranked, Place {
  /** Its block of totals, while it is shown. */
  block: number;
  /** Whether nothing of it was added to `*` before this collection. */
  isNew: boolean;
  /** Number of the last collection that gave it a row. */
  used: number;
  /** Number of the collection that gave it a place. */
  entered: number;
  /** Rendered labels, by shape of a column. */
  readonly rendered: Uint8Array[];
}

/** A value of the nested label, among those of one combination of the others. */
export interface Nested extends Ranked {
  readonly own: Place;
  /** Place under which it counts while it has no place of its own. */
  readonly rest: Place;
  /** Whether no collection has ranked it yet. */
  isNew: boolean;
  used: number;
  /** Number of the collection that gave it a place though it counted at `rest` before: it still counts there in that collection. */
  bornAtZero: number;
}

export interface Row {
  readonly key: RowKey;
  /** Two blocks: the totals of the last collection, then those of this one, which become the growth. */
  readonly block: number;
  labels: SampleLabels;
  place: Place;
  nested: Nested | undefined;
  gain: number;
  isLast: boolean;
  /** Number of the last collection that had it. */
  seen: number;
  edge: Edge | undefined;
  /** Edge to which its growth was added; undefined for `*`. */
  target: Edge | undefined;
}

/** State of the bound for one entity. */
export interface Slot {
  /** Slot of the entity. */
  readonly index: number;
  /** Whether its new series count from zero, and are shown at 0 first. */
  fromZero: boolean;
  readonly rows: Map<RowKey, Row>;
  readonly edges: Map<string, Edge>;
  /** Values of the nested label, by the other joint labels. */
  readonly nested: Map<string, Map<string, Nested>>;
  readonly rest: Edge;
  /** Counts of edges that were moved out. */
  moved: Edge | undefined;
  moves: number;
  /** Edges on the page: those with a place, and the rows under `*`. */
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
