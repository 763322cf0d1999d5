import type { MetricSet } from './metric.ts';

/** An alert on one metric of a probe. Alerts on several, and those that wake a person, are in dashboards/netsonde/alerts.ts. */
export type ProbeAlert<M extends MetricSet> = {
  readonly [K in keyof M & string]: {
    readonly name: `Netsonde${string}`;
    readonly severity: 'warning' | 'info';
    readonly metric: K;
    /** A counter's `rate` a second over five minutes, or the `max` of a gauge; of each Pod and node, and of each value of `by`. */
    readonly of: M[K]['type'] extends 'counter' ? 'rate' : M[K]['type'] extends 'gauge' ? 'max' : never;
    readonly by?: readonly (keyof M[K]['labels'] & string)[];
    /** Only the node itself, or only Pods; both where it is left out. */
    readonly only?: 'pods' | 'node';
    /** Fires above this value. */
    readonly above: number;
    /** Duration that the condition must last, as Prometheus writes it: `10m`. */
    readonly for: string;
    /** Rest of the sentence that begins with the Pod or the node: `{{ $value | humanize }}`, `{{ $labels.port }}`. */
    readonly summary: string;
    /** Meaning and remedy, in sentences. */
    readonly description: string;
    /** Next steps, in sentences of Markdown, for docs/runbook.md. */
    readonly runbook: string;
  };
}[keyof M & string];
