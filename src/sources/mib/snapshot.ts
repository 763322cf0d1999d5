import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { MibTable } from './tables.ts';

/** Opaque reference to a column of a snapshot. */
export type Column = number & { readonly __brand: 'Column' };

/** Counters of all namespaces at one moment, with a row per namespace and a column per field. */
export interface MibSnapshot {
  readonly ids: readonly NetnsId[];
  /** Returns whether any namespace has the table. */
  has(table: MibTable): boolean;
  /** Returns undefined if the kernel has no such field. */
  column(table: MibTable, field: string): Column | undefined;
  /** Returns undefined if this namespace lacks the table. */
  value(row: number, column: Column): Counter | undefined;
}
