import type { AnyProbe } from '#probe/contract.ts';
import { type Field, parseField } from '#probe/fields.ts';
import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';

const USUAL: Readonly<Record<string, number>> = { device: 1, reason: 3, kind: 1, port: 1 };
/**
 * Typical number of label combinations in a healthy Pod, for example two reset reasons and two kinds of
 * retransmissions.
 */
const USUAL_IN_ALL: Readonly<Record<string, number>> = {
  netsonde_tcp_resets_total: 2,
  netsonde_tcp_retransmits_total: 2,
};

/** Series of a histogram in addition to its finite buckets: the +Inf bucket, sum and count. */
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
 * Returns the number of series that a probe adds to a Pod.
 * @param fields metrics that are shown; undefined to count the core metrics
 * @param buckets number of histogram buckets that are shown; undefined to count all
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
 * Number of series of a Pod, by probe. It is based on all values of labels with a fixed set of values, a typical number
 * of values of labels whose values come from the kernel, and all buckets of histograms.
 */
export const DECLARED_SERIES = PROBES.map(({ name, metrics, enabledByDefault }) => {
  const ofPod = Object.values(metrics as MetricSet).filter(({ scope }) => scope === 'pod');
  return { name, isOn: enabledByDefault, core: sum(ofPod.filter(({ detail }) => detail === 'core')), full: sum(ofPod) };
});
