import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { MibTable } from './tables.ts';

/** Opaque identifier of a column in a snapshot. */
export type Column = number & { readonly __brand: 'Column' };

/** Counters of all namespaces at one point in time, with a row per namespace and a column per field. */
export interface MibSnapshot {
  readonly ids: readonly NetnsId[];
  /** Returns whether any namespace has the table. */
  has(table: MibTable): boolean;
  /** Looks up the column of a field; undefined if the kernel has no such field. */
  column(table: MibTable, field: string): Column | undefined;
  /** Returns the value in a column; undefined if the namespace does not have the table. */
  value(row: number, column: Column): Counter | undefined;
}
