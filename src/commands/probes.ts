import { PROBES } from '#probes/index.ts';
import { parseOptions } from './options.ts';
import { renderTable } from './table.ts';

export const PROBE_COLUMNS = ['PROBE', 'KIND', 'COST', 'DEFAULT', 'PURPOSE'];

/** Returns a table row for each probe. */
export function probeRows(): string[][] {
  return PROBES.map(({ name, kind, cost, enabledByDefault, summary }) => [
    name,
    kind,
    cost,
    enabledByDefault ? 'on' : 'off',
    summary,
  ]);
}

/** Runs `netsonde probes`, which lists all probes. */
export function runProbes(args: readonly string[]): number {
  parseOptions(args, {});
  process.stdout.write(`${renderTable([PROBE_COLUMNS, ...probeRows()])}\n`);
  return 0;
}
