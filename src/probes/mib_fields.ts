import type { Cycle } from '../collectors/cycle.ts';
import { notNegative } from '../counter.ts';
import type { MibSnapshot } from '../sources/mib/snapshot.ts';
import type { MibTable } from '../sources/mib/tables.ts';
import type { Sources } from '../sources/sources.ts';
import type { LooseEmit, MetricSet } from './metric.ts';
import type { ProbeScope, RunningProbe } from './probe.ts';

/** Which field of which table a metric shows. */
export interface MibField {
  readonly metric: string;
  readonly table: MibTable;
  readonly field: string;
  readonly labels: Readonly<Record<string, string>>;
  /** A share of it on one CPU may be negative. */
  readonly gauge?: boolean;
  /** Turns the kernel's unit into the metric's. */
  readonly scale?: number;
}

/**
 * Runs a probe that is nothing but fields of the MIBs: a sample for each namespace and field. A field that the kernel
 * lacks is left out, not zero.
 */
export async function runMibFields(
  scope: ProbeScope<Record<string, never>>,
  { mib }: Sources,
  fields: readonly MibField[],
): Promise<RunningProbe<MetricSet>> {
  scope.own(await mib.use([...new Set(fields.map(({ table }) => table))]));
  return {
    health: () => ({ reader: mib.health.reader, degraded: [] }),
    collect: async (emit, cycle) => emitFields(await mib.read(cycle), fields, emit as LooseEmit, cycle),
  };
}

async function emitFields(
  snapshot: MibSnapshot,
  fields: readonly MibField[],
  emit: LooseEmit,
  cycle: Cycle,
): Promise<void> {
  const columns = fields.flatMap((field) => {
    const column = snapshot.column(field.table, field.field);
    return column === undefined ? [] : [{ ...field, column }];
  });
  for (const [row, id] of snapshot.ids.entries()) {
    for (const { metric, labels, gauge, scale, column } of columns) {
      const value = snapshot.value(row, column);
      if (value === undefined) continue;
      const counted = gauge === true ? notNegative(value) : value;
      emit(metric, id, scale === undefined ? counted : Number(counted) * scale, labels);
    }
    await cycle.pause();
  }
}
