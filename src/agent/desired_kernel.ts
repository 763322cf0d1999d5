import type { Config } from '#config/schema.ts';
import type { DesiredKernel, DesiredProbes } from '#probe/contract.ts';

/** Returns the part of a configuration that the kernel thread applies. */
export function desiredKernel(config: Config): DesiredKernel {
  return {
    probes: desiredProbes(config),
    bpfStats: config.bpfStats,
    series: config.limits.series,
    privacy: config.privacy,
  };
}

/** Returns the enabled probes. A probe without its own `detail` uses the top-level `detail`. */
export function desiredProbes({ detail, probes }: Config): DesiredProbes {
  const enabled = Object.entries(probes).filter(([, probe]) => probe.enabled);
  return Object.fromEntries(
    enabled.map(([name, probe]) => [
      name,
      {
        detail: probe.detail ?? detail,
        fields: probe.fields,
        budget: probe.budget,
        settings: {
          metrics: probe.metrics,
          events: probe.events,
          limit: probe.limit,
          records: probe.records,
          podFilter: probe.pods,
          options: probe.options,
        },
      },
    ]),
  );
}
