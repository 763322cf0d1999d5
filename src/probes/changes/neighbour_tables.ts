import { type Counter, subtractCounters } from '#core/counter.ts';
import type { NeighbourTable } from '#sources/netlink/neighbour_table.ts';

/** A neighbour table that refused a new entry. */
export interface FullTable extends NeighbourTable {
  /** Entries refused since the last check. */
  readonly refused: Counter;
}

/**
 * Finds full tables by the entries that they refused. The number of entries does not show whether a table is full,
 * because permanent entries do not count against the limit, and the kernel evicts other entries before it refuses one
 * (net/core/neighbour.c, neigh_alloc()). Refusals before the first check are ignored.
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
