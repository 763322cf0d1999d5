import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { MibTable } from './tables.ts';

/** A column of a snapshot; opaque to its users. */
export type Column = number & { readonly __brand: 'Column' };

/** The counters of all namespaces at one moment: a row each, a column for each field. */
export interface MibSnapshot {
  readonly ids: readonly NetnsId[];
  /** Whether any namespace has the table. */
  has(table: MibTable): boolean;
  /** Undefined where the kernel has no such field. */
  column(table: MibTable, field: string): Column | undefined;
  /** Undefined where this namespace lacks the table. */
  value(row: number, column: Column): Counter | undefined;
}
