import { addCounters, type Counter } from '#core/counter.ts';
import type { HistogramValue, MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { EntityTable } from './entities.ts';
import type { Family } from './family.ts';
import type { SampleValue } from './sample.ts';
import { encode, formatNumber, type TextWriter } from './text_writer.ts';

/**
 * `text`: the Prometheus text format 0.0.4. `openmetrics`: OpenMetrics 1.0.0.
 * https://prometheus.io/docs/instrumenting/exposition_formats/ and
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
export type Format = 'text' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Ends an OpenMetrics page. */
export const OPENMETRICS_END = encode('# EOF\n');

const COMMA = encode(',');
const CLOSE = encode('} ');
const SPACE = encode(' ');
const LINE = encode('\n');

const COUNTER_SUFFIX = '_total';

/**
 * Writes all samples of a family; nothing, not even its head, where it has none.
 * @param view where it is for a scraper
 */
export function writeFamily(
  writer: TextWriter,
  family: Family,
  entities: EntityTable,
  format: Format,
  view?: ScraperView,
): void {
  const { descriptor } = family;
  const writeSample = sampleWriter(writer, descriptor, entities, format);
  let headed = false;
  family.visit((slot, labels, value) => {
    if (!headed) writer.text(renderHead(descriptor, format));
    headed = true;
    writeSample(slot, labels, value);
  }, view);
}

/** In OpenMetrics a counter's family is named without `_total`. */
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

type WriteSample = (slot: number, labels: Uint8Array | undefined, value: SampleValue) => void;

function sampleWriter(
  writer: TextWriter,
  descriptor: MetricDescriptor,
  entities: EntityTable,
  format: Format,
): WriteSample {
  const hasEntity = descriptor.scope !== 'agent';
  if (descriptor.type === 'histogram') return histogramWriter(writer, descriptor, entities, format);
  const name = encode(descriptor.name);
  const open = encode(`${descriptor.name}{`);
  return (slot, labels, value) => {
    if (!hasEntity && labels === undefined) {
      writer.bytes(name);
      writer.bytes(SPACE);
    } else {
      writer.bytes(open);
      if (hasEntity) writer.bytes(entities.labelsOf(slot));
      if (hasEntity && labels !== undefined) writer.bytes(COMMA);
      if (labels !== undefined) writer.bytes(labels);
      writer.bytes(CLOSE);
    }
    writer.number(value as Counter);
    writer.bytes(LINE);
  };
}

function histogramWriter(
  writer: TextWriter,
  { name, buckets = [], scope }: MetricDescriptor,
  entities: EntityTable,
  format: Format,
): WriteSample {
  const bounds = [...buckets.map((bound) => formatBound(bound, format)), '+Inf'];
  const line = (suffix: string, parts: readonly string[], value: Counter) => {
    const labels = parts.filter((part) => part !== '').join(',');
    writer.text(labels === '' ? `${name}${suffix} ` : `${name}${suffix}{${labels}} `);
    writer.number(value);
    writer.bytes(LINE);
  };
  return (slot, own, value) => {
    const { counts, sum, shown = { first: 0, last: buckets.length - 1 } } = value as HistogramValue;
    const entity = scope === 'agent' ? '' : Buffer.from(entities.labelsOf(slot)).toString();
    const labels = own === undefined ? '' : Buffer.from(own).toString();
    let cumulative: Counter = 0;
    for (const [index, bound] of bounds.entries()) {
      cumulative = addCounters(cumulative, counts[index] ?? 0);
      if (index < shown.first || (index > shown.last && index < buckets.length)) continue;
      line('_bucket', [entity, labels, `le="${bound}"`], cumulative);
    }
    line('_sum', [entity, labels], sum);
    line('_count', [entity, labels], cumulative);
  };
}

/** OpenMetrics wants bounds as floating-point numbers. */
function formatBound(bound: number, format: Format): string {
  return format === 'openmetrics' && Number.isInteger(bound) ? `${bound}.0` : formatNumber(bound);
}
