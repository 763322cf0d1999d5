import { type Counter, notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { MibSnapshot } from '#sources/mib/snapshot.ts';
import type { MibTable } from '#sources/mib/tables.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeScope, RunningProbe } from './contract.ts';
import { type LooseEmit, type MetricSet, NO_LABELS } from './metric.ts';

/** Which field of which table a metric shows. */
export interface MibField {
  readonly metric: string;
  readonly table: MibTable;
  readonly field: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Turns the kernel's value into the metric's. */
  readonly convert?: (value: Counter) => Counter;
}

/** `net/snmp Tcp.InSegs`, `net/netstat IpExt.InOctets`, `net/snmp6 Ip6InReceives`. */
const SOURCE = /net\/(?:(?:snmp|netstat) (\w+)\.|snmp6 (Ip6|Icmp6|Udp6|UdpLite6))(\w+)/g;

/** The fields that the sources of metrics name. Where a metric has families, those of the files for IPv6 are `ipv6`. */
export function fieldsOf(metrics: MetricSet): MibField[] {
  return Object.entries(metrics).flatMap(([metric, { source, type, labels }]) =>
    [...source.matchAll(SOURCE)].map(([, table4, table6, field = '']) => {
      const labelled = 'family' in labels ? { family: table6 === undefined ? 'ipv4' : 'ipv6' } : NO_LABELS;
      const base = { metric, table: (table6 ?? table4) as MibTable, field, labels: labelled };
      // A share of a gauge on one CPU may be negative.
      return type === 'gauge' ? { ...base, convert: notNegative } : base;
    }),
  );
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
  const columns = fields.flatMap((field) => {
    if (!emit.wants(field.metric)) return [];
    const column = snapshot.column(field.table, field.field);
    return column === undefined ? [] : [{ ...field, column }];
  });
  for (const [row, id] of snapshot.ids.entries()) {
    for (const { metric, labels, convert, column } of columns) {
      const value = snapshot.value(row, column);
      if (value !== undefined) emit(metric, id, convert === undefined ? value : convert(value), labels);
    }
    await cycle.pause();
  }
}
