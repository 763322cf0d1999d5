import type { MetricSet } from './metric.ts';

/**
 * An alert on one metric of a probe. Alerts on several metrics, and alerts that page someone, are in
 * dashboards/netsonde/alerts.ts.
 */
export type ProbeAlert<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly name: `Netsonde${string}`;
    readonly severity: 'warning' | 'info';
    readonly metric: K;
    /**
     * Expression that is compared: the per-second `rate` of a counter over five minutes, or the `max` of a gauge. It
     * is evaluated for each Pod and node, and for each value of `by`.
     */
    readonly of: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'max' : never;
    readonly by?: readonly (keyof M[K]['labels'] & string)[];
    /** Limits the alert to the node itself or to Pods; it covers both by default. */
    readonly only?: 'pods' | 'node';
    /** Fires above this value. */
    readonly above: number;
    /** Time for which the condition must hold, in the notation of Prometheus: `10m`. */
    readonly for: string;
    /**
     * Sentence without its subject, which is the Pod or the node. May contain `{{ $value | humanize }}` or `{{
     * $labels.port }}`.
     */
    readonly summary: string;
    /** Explanation of the alert and how to fix the problem, in full sentences. */
    readonly description: string;
    /** Next steps in Markdown, for docs/runbook.md. */
    readonly runbook: string;
  };
}[keyof M & string];
