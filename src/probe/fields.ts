import type { MetricSet } from './metric.ts';

/** One entry of a probe's `fields`: a metric and, optionally, the values to show for some of its labels. */
export interface Field {
  readonly metric: string;
  readonly only: Readonly<Record<string, readonly string[]>>;
}

const FIELD = /^(\w+)(?:\{(.*)\})?$/;
const MATCHER = /^\s*(\w+)(=~?)"([^"\\]*)"\s*$/;

/**
 * Parses an entry in a subset of PromQL, such as `netsonde_udp_no_port_total` or
 * `netsonde_tcp_connections{state=~"established|time_wait"}`.
 * @returns undefined if the syntax is wrong
 */
export function parseField(text: string): Field | undefined {
  const [, metric, inside] = FIELD.exec(text) ?? [];
  if (metric === undefined) return undefined;
  const matchers = (inside === undefined ? [] : inside.split(',')).map((matcher) => MATCHER.exec(matcher));
  const only: Record<string, readonly string[]> = {};
  for (const matcher of matchers) {
    const [, label, operator, value] = matcher ?? [];
    if (label === undefined || value === undefined || label in only) return undefined;
    only[label] = operator === '=' ? [value] : value.split('|');
  }
  return { metric, only };
}

/** Selects the series of a probe that are shown if its configuration contains `fields`. */
export class FieldChoice {
  readonly #fields = new Map<string, Field[]>();

  /** @param entries value of `fields` in the configuration, already validated */
  constructor(metrics: MetricSet, entries: readonly string[]) {
    const keys = new Map(Object.entries(metrics).map(([key, { name }]) => [name, key]));
    for (const entry of entries) {
      const field = parseField(entry);
      const key = keys.get(field?.metric ?? '');
      if (field === undefined || key === undefined) throw new Error(`${entry} is not a field`);
      this.#fields.set(key, [...(this.#fields.get(key) ?? []), field]);
    }
  }

  /** Whether any series of the metric are shown. @param key key of the metric in its set */
  has(key: string): boolean {
    return this.#fields.has(key);
  }

  takes(key: string, labels: Readonly<Record<string, string>>): boolean {
    return (this.#fields.get(key) ?? []).some(({ only }) =>
      Object.entries(only).every(([label, values]) => values.includes(labels[label] ?? '')),
    );
  }
}
