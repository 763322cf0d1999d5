import type { Alert } from './alerts.ts';
import type { Metric } from './promql.ts';

/** Series for promtool's tests of the alerts. */

export type Labels = Readonly<Record<string, string>>;

export interface Series {
  readonly metric: Metric;
  readonly labels: Labels;
  readonly values: string;
  /** Suffix of the metric's name, such as `_count` of a histogram. */
  readonly suffix?: string;
}

export interface Case {
  readonly alert: Alert['name'];
  readonly series: readonly Series[];
  /** Labels of the only alert that must fire. */
  readonly labels: Labels;
  readonly summary: string;
}

const MINUTES = 120;
const SECONDS = 60;

export const TARGET = { cluster: 'c1', node: 'n1' };
export const CART = { ...TARGET, namespace: 'shop', pod: 'cart-0' };
export const WEB = { ...TARGET, namespace: 'shop', pod: 'web-0' };
export const NODE = { ...TARGET, namespace: '', pod: '' };
export const OTHER_NODE = { ...NODE, node: 'n2' };

/** Returns a counter that increases at this rate. */
export function counts(metric: Metric, labels: Labels, perSecond: number, suffix = ''): Series {
  return { metric, labels, values: `0+${perSecond * SECONDS}x${MINUTES}`, suffix };
}

export function shows(metric: Metric, labels: Labels, value: number): Series {
  return { metric, labels, values: `${value}x${MINUTES}` };
}
