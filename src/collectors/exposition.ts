import type { Exemplar, MetricDescriptor } from '#probe/metric.ts';
import { formatNumber } from './number_text.ts';
import { encode } from './text_writer.ts';

/**
 * Formats of the page: Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
 * https://prometheus.io/docs/instrumenting/exposition_formats/ and
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
export type Format = 'text' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** End marker of an OpenMetrics page. */
export const OPENMETRICS_END = encode('# EOF\n');

const COUNTER_SUFFIX = '_total';

/**
 * Renders the lines that precede the samples of a metric. In OpenMetrics, the family of a counter has no suffix
 * `_total`.
 */
export function renderHead(
  { name, type, help, unit }: Pick<MetricDescriptor, 'name' | 'type' | 'help' | 'unit'>,
  format: Format,
): string {
  if (format === 'text') return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
  const family = type === 'counter' ? name.slice(0, -COUNTER_SUFFIX.length) : name;
  const unitLine = unit !== undefined && family.endsWith(`_${unit}`) ? `# UNIT ${family} ${unit}\n` : '';
  const help_ = escapeHelp(help).replaceAll('"', '\\"');
  return `# TYPE ${family} ${type}\n${unitLine}# HELP ${family} ${help_}\n`;
}

function escapeHelp(help: string): string {
  return help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** Formats the upper bound of a histogram bucket. OpenMetrics requires a decimal point. */
export function formatBound(bound: number, format: Format): string {
  return format === 'openmetrics' && Number.isInteger(bound) ? `${bound}.0` : formatNumber(bound);
}

const MILLISECOND_DIGITS = 3;

/** Formats what follows the value of a bucket with an exemplar. Only OpenMetrics has exemplars. */
export function formatExemplar({ traceId, value, time }: Exemplar): string {
  return ` # {trace_id="${traceId}"} ${formatNumber(value)} ${time.toFixed(MILLISECOND_DIGITS)}`;
}
