import type { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import type { EntityTable } from '#collectors/entities.ts';
import { type Format, renderHead } from '#collectors/exposition.ts';
import type { Family } from '#collectors/family.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import type { HistogramValue } from '#probe/metric.ts';

/** Renders the page from scratch as one string. */
export function referencePage(aggregator: Aggregator, format: Format, view?: ScraperView): string {
  return [...aggregator.families()].map((family) => familyText(family, aggregator.entities, format, view)).join('');
}

function familyText(family: Family, entities: EntityTable, format: Format, view: ScraperView | undefined): string {
  const { name, type, scope, buckets = [] } = family.descriptor;
  const bounds = [...buckets.map((bound) => boundText(bound, format)), '+Inf'];
  let text = '';
  const line = (suffix: string, labels: readonly string[], value: Counter) => {
    const shown = labels.filter((label) => label !== '').join(',');
    text += `${name}${suffix}${shown === '' ? '' : `{${shown}}`} ${numberText(value)}\n`;
  };
  family.visit((slot, own, value) => {
    if (text === '') text = renderHead(family.descriptor, format);
    const entity = scope === 'agent' ? '' : Buffer.from(entities.labelsOf(slot)).toString();
    const labels = [entity, Buffer.from(own ?? []).toString()];
    if (type !== 'histogram') return line('', labels, value as Counter);
    const { counts, sum, shown = { first: 0, last: buckets.length - 1 } } = value as HistogramValue;
    let cumulative: Counter = 0;
    for (const [index, bound] of bounds.entries()) {
      cumulative = addCounters(cumulative, counts[index] ?? 0);
      if (index < shown.first || (index > shown.last && index < buckets.length)) continue;
      line('_bucket', [...labels, `le="${bound}"`], cumulative);
    }
    line('_sum', labels, sum);
    line('_count', labels, cumulative);
  }, view);
  return text;
}

function boundText(bound: number, format: Format): string {
  return format === 'openmetrics' && Number.isInteger(bound) ? `${bound}.0` : numberText(bound);
}

function numberText(value: Counter): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
