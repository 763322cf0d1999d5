import type { MetricSet } from './metric.ts';

/**
 * An alert on a single metric of a probe. Alerts on several metrics, and alerts that page an operator, are in
 * dashboards/netsonde/alerts.ts.
 */
export type ProbeAlert<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly name: `Netsonde${string}`;
    readonly severity: 'warning' | 'info';
    readonly metric: K;
    /**
     * Expression to compare with the threshold: the per-second `rate` of a counter over five minutes, or the `max` of a
     * gauge. It is evaluated separately for each Pod and node, and for each value of `by`.
     */
    readonly of: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'max' : never;
    readonly by?: readonly (keyof M[K]['labels'] & string)[];
    /** Restricts the alert to the node itself or to Pods. By default, it covers both. */
    readonly only?: 'pods' | 'node';
    /** Threshold above which the alert fires. */
    readonly above: number;
    /** Time for which the condition must hold, in Prometheus notation, such as `10m`. */
    readonly for: string;
    /**
     * Rest of the summary sentence, whose subject is the Pod or the node. May contain `{{ $value | humanize }}` or `{{
     * $labels.port }}`.
     */
    readonly summary: string;
    /** Explanation of the alert and of how to fix the problem, in full sentences. */
    readonly description: string;
    /** Next steps in Markdown, for docs/runbook.md. */
    readonly runbook: string;
  };
}[keyof M & string];
