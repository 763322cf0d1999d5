import { type Counter, notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { MibSnapshot } from '#sources/mib/snapshot.ts';
import { MIB_FILES, type MibTable } from '#sources/mib/tables.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeScope, RunningProbe } from './contract.ts';
import { type LooseEmit, type MetricDescriptor, type MetricSet, type MibPlace, NO_LABELS } from './metric.ts';

/** Field of a MIB table that a metric shows. */
export interface MibField {
  readonly metric: string;
  readonly table: MibTable;
  readonly field: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Converts the value in the kernel to the value of the metric. */
  readonly convert?: (value: Counter) => Counter;
}

const MILLISECOND_SECONDS = 1e-3;

const CONVERSIONS = { milliseconds: (value: Counter) => Number(value) * MILLISECOND_SECONDS } as const;

/**
 * Returns the MIB fields of the metrics. Metrics from other sources are skipped. For a metric with a label `family`,
 * `mib6` contains the field for `ipv6`.
 */
export function fieldsOf(metrics: MetricSet): MibField[] {
  return Object.entries(metrics).flatMap(([metric, descriptor]) =>
    placesOf(descriptor).map(([table, field, unit]) => {
      const family = isOfIpv6(table) ? 'ipv6' : 'ipv4';
      const base = { metric, table, field, labels: 'family' in descriptor.labels ? { family } : NO_LABELS };
      if (unit !== undefined) return { ...base, convert: CONVERSIONS[unit] };
      // The value of a gauge on a single CPU may be negative.
      return descriptor.type === 'gauge' ? { ...base, convert: notNegative } : base;
    }),
  );
}

/** Returns the source of a metric as text, such as `net/snmp Tcp.InSegs, net/snmp6 Ip6InReceives` for a MIB metric. */
export function sourceOf(descriptor: MetricDescriptor): string {
  if (descriptor.source !== undefined) return descriptor.source;
  const texts = placesOf(descriptor).map(([table, field, unit]) => {
    const name = isOfIpv6(table) ? `${table}${field}` : `${table}.${field}`;
    return `${MIB_FILES[table]} ${name}${unit === undefined ? '' : `, ${unit}`}`;
  });
  return texts.join(', ');
}

function placesOf({ mib, mib6 }: MetricDescriptor): MibPlace<MibTable>[] {
  return [mib, mib6].filter((place) => place !== undefined);
}

function isOfIpv6(table: MibTable): boolean {
  return MIB_FILES[table] === 'net/snmp6';
}

/**
 * Runs a probe that shows only MIB fields. It emits one sample for each namespace and field. Fields that the kernel
 * does not have are omitted instead of being reported as 0.
 */
export async function runMibFields(
  scope: ProbeScope<Record<string, never>>,
  { mib }: Sources,
  fields: readonly MibField[],
): Promise<RunningProbe<MetricSet>> {
  scope.own(await mib.use([...new Set(fields.map(({ table }) => table))]));
  return {
    health: () => mib.health,
    collect: async (emit, cycle) => emitFields(await mib.read(cycle), fields, emit as LooseEmit, cycle),
  };
}

async function emitFields(
  snapshot: MibSnapshot,
  fields: readonly MibField[],
  emit: LooseEmit,
  cycle: Cycle,
): Promise<void> {
  for (const { metric, table, field, labels, convert } of fields) {
    if (!emit.wants(metric)) continue;
    const column = snapshot.column(table, field);
    if (column === undefined) continue;
    emit.column(metric, snapshot.ids, labels, (row) => {
      const value = snapshot.value(row, column);
      return value === undefined || convert === undefined ? value : convert(value);
    });
    if (cycle.isDue) await cycle.pause();
  }
}
