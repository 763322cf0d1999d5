import { addCounts, NO_COUNTS } from '#api/flow_rates.ts';
import { worstFirst } from '#core/worst_first.ts';
import type { FlowBook } from './book.ts';
import { type EdgeNumbers, type EdgeView, numbersOf } from './edge_view.ts';

/** Maximum number of rows. All further edges are summed in the last row. */
export const SHOWN_MAX = 200;

/** Filters of the tab, which are stored in the URL. An empty filter matches everything. */
export interface FlowFilter {
  /** Substring of `from → to:port`. */
  readonly q: string;
  readonly role: string;
  /** `trouble` selects only edges with problems. */
  readonly only: string;
  /** Column to sort by; if empty, the worst edges come first. */
  readonly by: string;
}

export type SortKey = 'name' | keyof EdgeNumbers;

const RANKS = { alert: 0, notice: 1 } as const;
const rankOf = ({ verdict }: EdgeView) => (verdict === undefined ? 2 : RANKS[verdict.grade]);

function worse(a: EdgeView, b: EdgeView): number {
  const [rank, other] = [rankOf(a), rankOf(b)];
  if (rank !== other) return rank - other;
  const [x, y] = [a.counts ?? NO_COUNTS, b.counts ?? NO_COUNTS];
  return rank < 2 ? worstFirst(x, y) : y.bytes - x.bytes;
}

function comparison(by: string): (a: EdgeView, b: EdgeView) => number {
  if (by === '' || by === 'name') return by === '' ? worse : () => 0;
  const value = ({ numbers }: EdgeView) => numbers[by as keyof EdgeNumbers] ?? -1;
  return (a, b) => value(b) - value(a);
}

/** Returns the edges that match the filter, sorted. */
export function arranged(edges: readonly EdgeView[], { q, role, only, by }: FlowFilter): EdgeView[] {
  const wanted = q.trim().toLowerCase();
  const compare = comparison(by);
  return edges
    .filter(
      ({ name, edge, verdict }) =>
        (wanted === '' || name.toLowerCase().includes(wanted)) &&
        (role === '' || edge.role === role) &&
        (only === '' || verdict !== undefined),
    )
    .sort((a, b) => compare(a, b) || (a.name < b.name ? -1 : 1));
}

/** Sorts edges in the order of these IDs. All other edges follow in their current order. */
export function inOrderOf<Row extends { readonly id: string }>(ids: readonly string[], edges: readonly Row[]): Row[] {
  const places = new Map(ids.map((id, place) => [id, place]));
  const place = ({ id }: Row) => places.get(id) ?? ids.length;
  return [...edges].sort((a, b) => place(a) - place(b));
}

/** Sum of all connections that have no row in the table. */
export interface Others {
  /** Number of edges that have no row. */
  readonly edges: number;
  readonly numbers: EdgeNumbers;
}

/**
 * Returns the sum of the node's connections in the chosen role that are not in the shown rows. The shown rows and this
 * sum add up to the total traffic.
 */
export function othersOf(book: FlowBook, shown: readonly EdgeView[], role: string): Others {
  const ids = new Set(shown.map(({ id }) => id));
  const isWanted = (edge: { readonly role: string }) => role === '' || edge.role === role;
  const hidden = book.edges.filter(({ id, edge }) => isWanted(edge) && !ids.has(id));
  const counts = [...hidden.flatMap((view) => view.counts ?? []), ...book.rest(isWanted)];
  return { edges: hidden.length, numbers: numbersOf(counts.reduce(addCounts, NO_COUNTS), book.history.seconds) };
}
