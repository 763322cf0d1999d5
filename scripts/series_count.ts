import type { AnyProbe } from '#probe/contract.ts';
import { type Field, parseField } from '#probe/fields.ts';
import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';

const USUAL: Readonly<Record<string, number>> = { device: 1, reason: 3, kind: 1, port: 1 };
/** Combinations that a healthy Pod has: two reasons for resets, two kinds of retransmits. */
const USUAL_IN_ALL: Readonly<Record<string, number>> = {
  netsonde_tcp_resets_total: 2,
  netsonde_tcp_retransmits_total: 2,
};

/** Series of a histogram in addition to its buckets: +Inf, sum and count. */
const OF_HISTOGRAM = 3;

function seriesOf(
  { name, labels, buckets }: MetricDescriptor,
  only: Field['only'] = {},
  shown = buckets?.length,
): number {
  const usual = USUAL_IN_ALL[name];
  if (usual !== undefined) return usual;
  return Object.entries(labels).reduce(
    (product, [key, label]) =>
      product * (only[key]?.length ?? (isClosed(label) ? label.values.length : (USUAL[key] ?? 0))),
    shown === undefined ? 1 : shown + OF_HISTOGRAM,
  );
}

/**
 * Returns the number of series that a Pod has of one probe.
 * @param fields metrics that are shown; undefined: the probe's core
 * @param buckets buckets of a histogram that are shown; undefined: all
 */
export function seriesOfPod(probe: AnyProbe, fields: readonly string[] | undefined, buckets?: number): number {
  const metrics = Object.values<MetricDescriptor>(probe.metrics as MetricSet).filter(({ scope }) => scope === 'pod');
  const chosen =
    fields?.map((text) => parseField(text)) ??
    metrics.filter(({ detail }) => detail === 'core').map(({ name: metric }) => ({ metric, only: {} }));
  return chosen.reduce((total, field) => {
    const metric = metrics.find(({ name }) => name === field?.metric);
    return metric === undefined ? total : total + seriesOf(metric, field?.only, metric.buckets && buckets);
  }, 0);
}

function sum(metrics: readonly MetricDescriptor[]): number {
  return metrics.reduce((total, metric) => total + seriesOf(metric), 0);
}

/**
 * Series of a Pod, by probe: a label with listed values counts with all of them, a label whose values come from the kernel
 * with a typical number, and a histogram with all of its buckets.
 */
export const DECLARED_SERIES = PROBES.map(({ name, metrics, enabledByDefault }) => {
  const ofPod = Object.values(metrics as MetricSet).filter(({ scope }) => scope === 'pod');
  return { name, isOn: enabledByDefault, core: sum(ofPod.filter(({ detail }) => detail === 'core')), full: sum(ofPod) };
});
