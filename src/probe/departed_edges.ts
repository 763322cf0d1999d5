import type { EdgePlace } from './flow_edges.ts';

/** Maximum number of sums of ended rows. If there are more, the oldest ones are dropped. */
const DEPARTED_MAX = 4_096;

/** Sums of ended rows, by namespace, role, identity, port and, if the rows have one, protocol. */
export class DepartedEdges<Row extends EdgePlace & { readonly protocol?: string }> implements Iterable<Row> {
  readonly #sums = new Map<string, Row>();
  readonly #sum: (a: Row, b: Row) => Row;

  /** @param sum adds the totals of two rows */
  constructor(sum: (a: Row, b: Row) => Row) {
    this.#sum = sum;
  }

  add(totals: Row): void {
    const { netns, role, identity, port, protocol = '' } = totals;
    const key = [netns, role, identity?.kind, identity?.namespace, identity?.name, identity?.zone, port, protocol].join(
      '\0',
    );
    const before = this.#sums.get(key);
    this.#sums.delete(key);
    this.#sums.set(key, before === undefined ? totals : this.#sum(before, totals));
    if (this.#sums.size <= DEPARTED_MAX) return;
    const [oldest] = this.#sums.keys();
    if (oldest !== undefined) this.#sums.delete(oldest);
  }

  [Symbol.iterator](): Iterator<Row> {
    return this.#sums.values();
  }
}
