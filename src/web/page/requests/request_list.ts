import { addRequestCounts, NO_REQUESTS } from '#api/request_rates.ts';
import type { RequestBook } from './book.ts';
import { originsOf } from './origin.ts';
import { type RequestValues, type RequestView, valuesOf } from './request_view.ts';

/** Maximum number of rows. All further edges are summed in the last row. */
export const SHOWN_MAX = 200;

/** Filters of the tab, which are stored in the URL. An empty filter matches everything. */
export interface RequestFilter {
  /** Substring of `from → to:port`. */
  readonly q: string;
  readonly role: string;
  /** `http` or `dns`. */
  readonly protocol: string;
  /** `trouble` selects only edges with problems. */
  readonly only: string;
  /** Column to sort by; if empty, the worst edges come first, and those where the trouble may begin before others. */
  readonly by: string;
}

const RANKS = { alert: 0, notice: 1 } as const;
const rankOf = ({ verdict }: RequestView) => (verdict === undefined ? 2 : RANKS[verdict.grade]);

/** @param origins edges of which others are a consequence, by the IDs of these */
function worse(a: RequestView, b: RequestView, origins: ReadonlyMap<string, RequestView>): number {
  const [x, y] = [a.counts ?? NO_REQUESTS, b.counts ?? NO_REQUESTS];
  return (
    rankOf(a) - rankOf(b) ||
    Number(origins.has(a.id)) - Number(origins.has(b.id)) ||
    y.failed - x.failed ||
    y.requests - x.requests
  );
}

function comparison(by: string, edges: readonly RequestView[]): (a: RequestView, b: RequestView) => number {
  if (by === 'name') return () => 0;
  if (by === '') {
    const origins = originsOf(edges);
    return (a, b) => worse(a, b, origins);
  }
  const value = ({ values }: RequestView) => values[by as keyof RequestValues] ?? -1;
  return (a, b) => value(b) - value(a);
}

/** Returns the edges that match the filter, sorted. */
export function arranged(edges: readonly RequestView[], filter: RequestFilter): RequestView[] {
  const wanted = filter.q.trim().toLowerCase();
  const compare = comparison(filter.by, edges);
  return edges
    .filter(
      ({ name, edge, verdict }) =>
        (wanted === '' || name.toLowerCase().includes(wanted)) &&
        isOf(filter, edge) &&
        (filter.only === '' || verdict !== undefined),
    )
    .sort((a, b) => compare(a, b) || (a.name < b.name ? -1 : 1));
}

function isOf(
  { role, protocol }: Pick<RequestFilter, 'role' | 'protocol'>,
  edge: { readonly role: string; readonly protocol: string },
): boolean {
  return (role === '' || edge.role === role) && edge.protocol.startsWith(protocol);
}

/** Sum of all requests that have no row in the table. */
export interface Others {
  /** Number of edges that have no row. */
  readonly edges: number;
  readonly values: RequestValues;
}

/** Returns the sum of the requests of the chosen role and protocol that are not in the shown rows. */
export function othersOf(book: RequestBook, shown: readonly RequestView[], filter: RequestFilter): Others {
  const ids = new Set(shown.map(({ id }) => id));
  const hidden = book.edges.filter(({ id, edge }) => isOf(filter, edge) && !ids.has(id));
  const counts = [...hidden.flatMap((view) => view.counts ?? []), ...book.rest((edge) => isOf(filter, edge))];
  return {
    edges: hidden.length,
    values: valuesOf(counts.reduce(addRequestCounts, NO_REQUESTS), book.history.seconds),
  };
}
