import { FORGOTTEN, type NetnsId } from '#core/netns.ts';
import type { EdgePlace } from './flow_edges.ts';

/** Maximum number of sums of ended rows. Further ones are added to the sums of forgotten owners, oldest first. */
const DEPARTED_MAX = 4_096;

/**
 * Sums of ended rows, by namespace, role, identity, port and, if the rows have one, protocol. When the owner of a
 * namespace is forgotten, its sums are added to one for each role and protocol, so that their number follows that of the
 * owners.
 */
export class DepartedEdges<Row extends EdgePlace & { readonly protocol?: string }> implements Iterable<Row> {
  readonly #sums = new Map<string, Row>();
  /** Sums of forgotten owners, by role and protocol. */
  readonly #forgotten = new Map<string, Row>();
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
    const [oldest] = this.#sums;
    if (oldest !== undefined) this.#forgetOne(...oldest);
  }

  /** Adds up the sums of owners that are forgotten. */
  forget(isForgotten: (netns: NetnsId) => boolean): void {
    for (const [key, sum] of this.#sums) if (isForgotten(sum.netns)) this.#forgetOne(key, sum);
  }

  *[Symbol.iterator](): Iterator<Row> {
    yield* this.#sums.values();
    yield* this.#forgotten.values();
  }

  #forgetOne(key: string, sum: Row): void {
    this.#sums.delete(key);
    const { role, protocol = '' } = sum;
    const place = `${role} ${protocol}`;
    const before = this.#forgotten.get(place);
    const nameless = { ...sum, netns: FORGOTTEN, peer: null, identity: undefined, port: 0 };
    this.#forgotten.set(place, before === undefined ? nameless : this.#sum(before, nameless));
  }
}
