import type { MetricDescriptor, MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import type { Metric } from './promql.ts';

interface Owner {
  readonly probe: string;
  readonly isOff: boolean;
  readonly detail: MetricDescriptor['detail'];
}

const OWNERS: ReadonlyMap<string, Owner> = new Map(
  PROBES.flatMap(({ name, enabledByDefault, metrics }) =>
    Object.values(metrics as MetricSet).map((metric): [string, Owner] => [
      metric.name,
      { probe: name, isOff: !enabledByDefault, detail: metric.detail },
    ]),
  ),
);

function needOf({ name }: Metric): string | undefined {
  const owner = OWNERS.get(name);
  if (owner === undefined) return undefined;
  const { probe, isOff, detail } = owner;
  if (isOff)
    return `The probe \`${probe}\` is off by default${detail === 'full' ? ', and this needs `detail: full`' : ''}.`;
  return detail === 'full' ? `This needs \`detail: full\` of the probe \`${probe}\`.` : undefined;
}

/** Returns sentences that describe the configuration that these metrics need. */
export function needsOf(metrics: readonly Metric[]): string[] {
  return [...new Set(metrics.map(needOf).filter((need) => need !== undefined))];
}
