import { type Counter, subtractCounters } from '#core/counter.ts';
import type { NeighbourTable } from '#sources/netlink/neighbour_table.ts';

/** A neighbour table that has refused new entries. */
export interface FullTable extends NeighbourTable {
  /** Number of entries refused since the last check. */
  readonly refused: Counter;
}

/**
 * Finds full tables by the number of entries that they have refused. The number of entries in a table does not show
 * whether it is full: permanent entries do not count toward the limit, and the kernel evicts other entries before it
 * refuses a new one (net/core/neighbour.c, neigh_alloc()). Refusals before the first check are ignored.
 */
export class NeighbourTableWatch {
  readonly #overflows = new Map<string, Counter>();

  look(tables: readonly NeighbourTable[]): FullTable[] {
    return tables.flatMap((table) => {
      const { family, overflows } = table;
      const before = this.#overflows.get(family);
      if (overflows !== undefined) this.#overflows.set(family, overflows);
      const refused = overflows === undefined || before === undefined ? 0 : subtractCounters(overflows, before);
      return refused > 0 ? [{ ...table, refused }] : [];
    });
  }
}
