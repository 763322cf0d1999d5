import type { RowKey } from '#probe/metric.ts';
import type { Ranked } from './ranking.ts';
import type { SampleLabels } from './sample.ts';

/** What a row counts under: a combination of the values of the joint labels. */
export interface Place {
  readonly key: string;
  /** By the names of the layout. */
  readonly values: readonly string[];
}

export interface Edge extends Ranked, Place {
  /** Its block of totals, while it is shown. */
  block: number;
  /** Nothing of it was added to `*` before this collection. */
  isNew: boolean;
  /** The last collection that gave it a row. */
  used: number;
  /** The collection that gave it a place. */
  entered: number;
  /** By shape of a column. */
  readonly rendered: Uint8Array[];
}

/** A value of the nested label, among those of one combination of the others. */
export interface Nested extends Ranked {
  readonly own: Place;
  /** Where it counts while it has no place. */
  readonly rest: Place;
  /** No collection has ranked it yet. */
  isNew: boolean;
  used: number;
  /** The collection that gave it a place though it counted at `rest` before: that one still counts there. */
  bornAtZero: number;
}

export interface Row {
  readonly key: RowKey;
  /** Two blocks: the totals of the last collection, then those of this one, then what they grew. */
  readonly block: number;
  labels: SampleLabels;
  place: Place;
  nested: Nested | undefined;
  gain: number;
  isLast: boolean;
  /** The collection that had it last. */
  seen: number;
  edge: Edge | undefined;
  /** The edge that got what it grew; undefined: `*` did. */
  target: Edge | undefined;
}

/** What the bound keeps of one entity. */
export interface Slot {
  /** Of the entity. */
  readonly index: number;
  /** What is new of it counts from zero, and is shown at 0 first. */
  fromZero: boolean;
  readonly rows: Map<RowKey, Row>;
  readonly edges: Map<string, Edge>;
  /** By the other joint labels: the values of the nested one. */
  readonly nested: Map<string, Map<string, Nested>>;
  readonly rest: Edge;
  /** What edges that were moved out had counted. */
  moved: Edge | undefined;
  moves: number;
  /** What is on the page: edges with a place, and the rows under `*`. */
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
