import { SELF_METRICS } from '#collectors/self.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import type { MetricDescriptor, MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';

/** All metrics of the probes and of the agent itself. */
export const METRICS: readonly MetricDescriptor[] = [
  ...PROBES.flatMap(({ metrics }) => Object.values(metrics as MetricSet)),
  ...Object.values<MetricDescriptor>(AGENT_METRICS),
  ...Object.values<MetricDescriptor>(SELF_METRICS),
];

const BY_NAME = new Map(METRICS.map((metric) => [metric.name, metric]));

/** Returns whether any metric has a series with this name. */
export function isSeries(name: string): boolean {
  const ofHistogram = BY_NAME.get(name.replace(/_(bucket|count|sum)$/, ''));
  return ofHistogram?.type === 'histogram' ? ofHistogram.name !== name : BY_NAME.has(name);
}
