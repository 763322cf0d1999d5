import * as z from 'zod';
import type { AnyProbe } from '#probe/contract.ts';
import { parseField } from '#probe/fields.ts';
import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { nearest } from './faults.ts';

const FORM =
  'a metric, like netsonde_tcp_active_opens_total, or with labels, like netsonde_udp_no_port_total{family="ipv4"}';

/**
 * Returns a description of what is allowed in place of an invalid entry of `fields`; undefined if the entry is valid.
 */
function faultOf(text: string, probe: AnyProbe): string | undefined {
  const field = parseField(text);
  if (field === undefined) return FORM;
  const metrics = Object.values<MetricDescriptor>(probe.metrics as MetricSet);
  const descriptor = metrics.find(({ name }) => name === field.metric);
  if (descriptor === undefined) {
    const guess = nearest(
      field.metric,
      metrics.map(({ name }) => name),
    );
    const hint = guess === undefined ? 'docs/metrics.md lists them' : `did you mean ${guess}?`;
    return `a metric of ${probe.name} (${hint})`;
  }
  for (const [name, values] of Object.entries(field.only)) {
    const label = descriptor.labels[name];
    const listed = Object.entries(descriptor.labels).flatMap(([key, other]) => (isClosed(other) ? [key] : []));
    if (label === undefined || !isClosed(label)) {
      const labels = listed.length === 0 ? 'none' : listed.join(', ');
      return `a label of ${field.metric} with values that docs/metrics.md lists (${labels}), not ${name}`;
    }
    const strange = values.find((value) => !label.values.includes(value));
    if (strange !== undefined) return `one of ${label.values.join(', ')} for ${name}, not ${JSON.stringify(strange)}`;
  }
  return undefined;
}

/** Returns the schema of a probe's `fields`. */
export function fieldsSchema(probe: AnyProbe): z.ZodType<readonly string[]> {
  const entry = z.string().superRefine((text, context) => {
    const fault = faultOf(text, probe);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  });
  return z.array(entry).min(1);
}
