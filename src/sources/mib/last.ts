import { mibRow } from '#bpf/generated/common.ts';
import { type Counter, readCounter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { MibIndex, MibTable } from './tables.ts';

/**
 * Final counters that the kernel copied from removed namespaces. They are kept while the namespaces are still shown.
 */
export class LastCounters {
  readonly #rows = new Map<NetnsId, Uint8Array>();

  keep(id: NetnsId, row: Uint8Array): void {
    this.#rows.set(id, row);
  }

  rows(): Iterable<readonly [NetnsId, Uint8Array]> {
    return this.#rows;
  }

  sweep(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#rows.keys()) if (isDead(id)) this.#rows.delete(id);
  }
}

/** Returns a field from a row of {@link LastCounters}; undefined if this kernel does not have the field. */
export function lastValue(index: MibIndex, row: Uint8Array, table: MibTable, field: string): Counter | undefined {
  const view = new DataView(row.buffer, row.byteOffset);
  const column = index.column(table, field);
  if (column === undefined || (mibRow.tables(view, 0) & (1 << column.bit)) === 0) return undefined;
  return readCounter(view, column.at);
}
