import { renderTable } from '#commands/table.ts';
import { DECLARED_SERIES } from './series_count.ts';

/** Prints the number of series that each probe adds to a Pod. Fails if the default probes add more than `CORE_MAX`. */

/**
 * Maximum number of core series per Pod according to the declarations of the probes. These count every bucket of a
 * histogram and every value of a label. The edges of `flow` are not counted, because their number depends on the Pod.
 * In practice, half of the busy Pods have at most 80 series with their edges (docs/scale.md).
 */
const CORE_MAX = 140;

const byDefault = DECLARED_SERIES.filter(({ isOn }) => isOn);
const core = byDefault.reduce((total, row) => total + row.core, 0);
const full = byDefault.reduce((total, row) => total + row.full, 0);
const cells = [...DECLARED_SERIES, { name: 'by default', core, full }].map((row) => [
  row.name,
  String(row.core),
  String(row.full),
]);
process.stdout.write(`${renderTable([['PROBE', 'CORE', 'FULL'], ...cells])}\n`);
if (core > CORE_MAX) {
  process.stderr.write(`more than ${CORE_MAX} core series a Pod by default\n`);
  process.exitCode = 1;
}
