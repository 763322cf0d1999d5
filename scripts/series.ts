import { renderTable } from '../src/commands/table.ts';
import { PROBES } from '../src/probes/index.ts';
import { isOpen, type MetricDescriptor, type MetricSet } from '../src/probes/metric.ts';

/**
 * Prints how many series a Pod has, by probe: a label with listed values counts with all of them, one whose values come from
 * the kernel with what is usual.
 */

const USUAL: Readonly<Record<string, number>> = { device: 1, reason: 3, kind: 1, port: 1 };
/** In all, where a Pod that is well has few of the combinations: two reasons for resets, two kinds of retransmits. */
const USUAL_IN_ALL: Readonly<Record<string, number>> = {
  netsonde_tcp_resets_total: 2,
  netsonde_tcp_retransmits_total: 2,
};
const CORE_MAX = 60;

function seriesOf({ name, labels }: MetricDescriptor): number {
  const usual = USUAL_IN_ALL[name];
  if (usual !== undefined) return usual;
  return Object.entries(labels).reduce(
    (product, [key, label]) => product * (isOpen(label) ? (USUAL[key] ?? 0) : label.values.length),
    1,
  );
}

function sum(metrics: readonly MetricDescriptor[]): number {
  return metrics.reduce((total, metric) => total + seriesOf(metric), 0);
}

const rows = PROBES.map(({ name, metrics, enabledByDefault }) => {
  const ofPod = Object.values(metrics as MetricSet).filter(({ scope }) => scope === 'pod');
  return { name, isOn: enabledByDefault, core: sum(ofPod.filter(({ detail }) => detail === 'core')), full: sum(ofPod) };
});
const byDefault = rows.filter(({ isOn }) => isOn);
const core = byDefault.reduce((total, row) => total + row.core, 0);
const full = byDefault.reduce((total, row) => total + row.full, 0);
const cells = [...rows, { name: 'by default', core, full }].map((row) => [
  row.name,
  String(row.core),
  String(row.full),
]);
process.stdout.write(`${renderTable([['PROBE', 'CORE', 'FULL'], ...cells])}\n`);
if (core > CORE_MAX) {
  process.stderr.write(`more than ${CORE_MAX} core series a Pod by default\n`);
  process.exitCode = 1;
}
