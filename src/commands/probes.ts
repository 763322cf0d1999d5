import { PROBES } from '../probes/index.ts';
import { renderTable } from './table.ts';

/** `netsonde probes`: the catalogue. */
export function listProbes(): string {
  const rows = PROBES.map(({ name, kind, cost, enabledByDefault, summary }) => [
    name,
    kind,
    cost,
    enabledByDefault ? 'on' : 'off',
    summary,
  ]);
  return renderTable([['PROBE', 'KIND', 'COST', 'DEFAULT', 'WHAT IT IS FOR'], ...rows]);
}
