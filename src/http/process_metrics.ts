import type { MetricObjectWithValues, MetricValue, MetricValueWithName } from 'prom-client';
import { type Format, renderHead } from '#collectors/exposition.ts';
import { renderLabels } from '#collectors/labels.ts';
import type { TextWriter } from '#collectors/text_writer.ts';

type PromMetric = MetricObjectWithValues<MetricValue<string>>;

const TYPES = ['counter', 'gauge', 'histogram'] as const;

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
