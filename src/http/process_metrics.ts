import { performance } from 'node:perf_hooks';
import type { MetricObjectWithValues, MetricValue, MetricValueWithName, Registry } from 'prom-client';
import { Counter, collectDefaultMetrics } from 'prom-client';
import { type Format, renderHead } from '#collectors/exposition.ts';
import { renderLabels } from '#collectors/labels.ts';
import type { TextWriter } from '#collectors/text_writer.ts';

type PromMetric = MetricObjectWithValues<MetricValue<string>>;

const TYPES = ['counter', 'gauge', 'histogram'] as const;

/** Longest period of a timer of Node.js: the sampler of prom-client would wake the process a hundred times a second. */
const NEVER_MS = 2 ** 31 - 1;
/** What that sampler sees. */
const SAMPLED = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];
/** Gauges with the suffix of a counter. */
const MISNAMED = ['handles', 'requests', 'resources'];

/**
 * What prom-client measures of this process when it is asked, without its sampler of the event loop. Instead, the loop itself counts:
 * active seconds divided by iterations is the mean time that whatever comes has to wait.
 */
export function measureProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const what of SAMPLED) registry.removeSingleMetric(`nodejs_eventloop_lag_${what}_seconds`);
  for (const what of MISNAMED) registry.removeSingleMetric(`nodejs_active_${what}_total`);
  countOf(registry, 'nodejs_eventloop_active_seconds_total', 'Time in which the event loop was not waiting.', () => {
    return performance.eventLoopUtilization().active / 1_000;
  });
  countOf(registry, 'nodejs_eventloop_iterations_total', 'Iterations of the event loop.', () => {
    return performance.nodeTiming.uvMetricsInfo.loopCount;
  });
}

function countOf(registry: Registry, name: string, help: string, read: () => number): void {
  const counter: Counter = new Counter({
    name,
    help,
    registers: [registry],
    collect: () => {
      counter.reset();
      counter.inc(read());
    },
  });
}

/**
 * Writes what prom-client measures of this process. Its own text output has one format at a time for all requests, and a
 * metric that fails takes the page with it.
 */
export function writeProcessMetrics(writer: TextWriter, metrics: readonly PromMetric[], format: Format): void {
  for (const { name, help, type, values } of metrics) {
    const known = TYPES.find((candidate) => candidate === String(type));
    if (known === undefined || values.length === 0) continue;
    writer.text(renderHead({ name, type: known, help: help.endsWith('.') ? help : `${help}.` }, format));
    for (const value of values) {
      const { metricName = name } = value as MetricValueWithName<string>;
      const labels = renderLabels(stringLabels(value.labels));
      writer.text(labels === '' ? `${metricName} ` : `${metricName}{${labels}} `);
      writer.number(value.value);
      writer.text('\n');
    }
  }
}

function stringLabels(labels: Partial<Record<string, string | number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}
