import type { MetricDescriptor } from '#probe/metric.ts';

/**
 * Prometheus queries that are built from metric descriptors. A query with an unknown metric, label or value does not
 * compile, and a panel knows which metrics it uses.
 */

/**
 * A metric without a descriptor, which comes from Prometheus itself or has a name of the client library for Node.js.
 */
export interface ForeignMetric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly unit?: MetricDescriptor['unit'];
  readonly help: string;
  readonly labels: Readonly<Record<string, never>>;
}

export type Metric = MetricDescriptor | ForeignMetric;

/** Labels of the scrape target and of the owner of a series. */
export const TARGET_LABELS = ['cluster', 'node', 'instance', 'namespace', 'pod'] as const;
export type TargetLabel = (typeof TARGET_LABELS)[number];

/** Groups by Pod and by node. Series of a node have an empty namespace and Pod. */
export const BY_ENTITY = ['cluster', 'node', 'namespace', 'pod'] as const;
export const BY_NODE = ['cluster', 'node'] as const;

type LabelName<M extends Metric> = (keyof M['labels'] & string) | TargetLabel;
type Values<L> = L extends { readonly values: readonly (infer V extends string)[] } ? V : string;

/** Label values to select, by label. */
export type Only<M extends Metric> = {
  readonly [K in keyof M['labels']]?: readonly [Values<M['labels'][K]>, ...Values<M['labels'][K]>[]];
};

export type Counting = Metric & { readonly type: 'counter' };
export type Gauge = Metric & { readonly type: 'gauge' };
export type Distribution = MetricDescriptor & { readonly type: 'histogram' };

/** The series that a query selects, and the time range over which it evaluates them. */
export interface View {
  readonly matchers: readonly string[];
  readonly window: string;
}

/** Returns the view with further matchers. */
export function narrow({ matchers, window }: View, ...more: string[]): View {
  return { matchers: [...matchers, ...more], window };
}

/** An expression with its metrics and Grafana's name for its unit. */
export interface Expression {
  readonly text: string;
  readonly metrics: readonly Metric[];
  readonly unit: string;
}

function matcher(label: string, values: readonly string[]): string {
  return values.length === 1 ? `${label}="${values[0]}"` : `${label}=~"${values.join('|')}"`;
}

/** Renders a selector such as `netsonde_tcp_aborts_total{cluster=~"$cluster",cause="close"}`. */
export function select<const M extends Metric>(metric: M, view: View, only: Only<M> = {}, suffix = ''): string {
  const chosen = Object.entries(only as Readonly<Record<string, readonly string[]>>);
  const matchers = [...view.matchers, ...chosen.map(([label, values]) => matcher(label, values))];
  return `${metric.name}${suffix}${matchers.length === 0 ? '' : `{${matchers.join(',')}}`}`;
}

function aggregate(how: string, by: readonly string[], text: string): string {
  return `${how}${by.length === 0 ? '' : ` by (${by.join(', ')})`} (${text})`;
}

/** Returns the unit of a counter's rate. Seconds per second are a share. */
function rateUnit({ name, unit }: Metric): string {
  if (unit === 'bytes') return 'Bps';
  if (unit === 'seconds') return 'percentunit';
  return /packet|datagram|segment/.test(name) ? 'pps' : 'cps';
}

const GAUGE_UNITS = { bytes: 'bytes', seconds: 's', ratio: 'percentunit' } as const;

function unitOf({ unit }: Metric): string {
  return unit === undefined ? 'short' : GAUGE_UNITS[unit];
}

/** Returns the rate of a counter per second, added up. */
export function rate<const M extends Counting>(
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  const text = aggregate('sum', by, `rate(${select(metric, view, only)}[${view.window}])`);
  return { text, metrics: [metric], unit: rateUnit(metric) };
}

/** Returns the increase of a counter within the window, added up. */
export function increase<const M extends Counting>(
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  const text = aggregate('sum', by, `increase(${select(metric, view, only)}[${view.window}])`);
  return { text, metrics: [metric], unit: unitOf(metric) };
}

/** Returns a counter's value since the agents started, added up. */
export function total<const M extends Counting>(
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  return { text: aggregate('sum', by, select(metric, view, only)), metrics: [metric], unit: unitOf(metric) };
}

export function gauge<const M extends Gauge>(
  how: 'sum' | 'max' | 'min' | 'count',
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  return { text: aggregate(how, by, select(metric, view, only)), metrics: [metric], unit: unitOf(metric) };
}

/** Returns a quantile of a histogram. */
export function quantile<const M extends Distribution>(
  share: number,
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  const buckets = aggregate('sum', ['le', ...by], `rate(${select(metric, view, only, '_bucket')}[${view.window}])`);
  return { text: `histogram_quantile(${share}, ${buckets})`, metrics: [metric], unit: unitOf(metric) };
}

/** Returns the number of observations of a histogram per second. */
export function frequency<const M extends Distribution>(
  metric: M,
  view: View,
  by: readonly LabelName<M>[],
  only: Only<M> = {},
): Expression {
  const text = aggregate('sum', by, `rate(${select(metric, view, only, '_count')}[${view.window}])`);
  return { text, metrics: [metric], unit: 'ops' };
}

/** Joins text and expressions, as in promql`${failed} / ${all}`. The unit is that of the first expression. */
export function promql(texts: TemplateStringsArray, ...parts: readonly (Expression | number)[]): Expression {
  const expressions = parts.filter((part) => typeof part !== 'number');
  const text = texts.reduce((before, after, index) => {
    const part = parts[index - 1];
    return `${before}${typeof part === 'object' ? part.text : part}${after}`;
  });
  return {
    text,
    metrics: [...new Set(expressions.flatMap(({ metrics }) => metrics))],
    unit: expressions[0]?.unit ?? 'short',
  };
}

export function as(unit: string, expression: Expression): Expression {
  return { ...expression, unit };
}

/** Returns the largest values above zero. */
export function top(count: number, expression: Expression): Expression {
  return promql`topk(${count}, ${expression} > 0)`;
}

/** Copies the part of a label that a pattern captures. If the pattern does not match, the target stays as it is. */
export function copyLabel(text: string, to: string, from: string, pattern = '(.*)'): string {
  return `label_replace(${text}, "${to}", "$1", "${from}", "${pattern}")`;
}

export function putLabel(text: string, label: string, value: string): string {
  return `label_replace(${text}, "${label}", "${value}", "", "")`;
}

/** Joins the values of labels. The target may be one of them. */
export function joinLabels(text: string, to: string, separator: string, from: readonly string[]): string {
  return `label_join(${[text, `"${to}"`, `"${separator}"`, ...from.map((label) => `"${label}"`)].join(', ')})`;
}
