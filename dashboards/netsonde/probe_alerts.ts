import type { AnyProbe } from '#probe/contract.ts';
import { isClosed, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import type { Alert } from './alerts.ts';
import { BY_ENTITY, type Counting, type Gauge, gauge, narrow, promql, rate, type View } from './promql.ts';

/** Alerts that the definitions of probes declare. */

/** An alert without its type parameters, which were checked in the probe's definition. */
interface AnyAlert extends Omit<Alert, 'expression'> {
  readonly severity: 'warning' | 'info';
  readonly metric: string;
  readonly of: 'rate' | 'max';
  readonly by?: readonly string[];
  readonly only?: 'pods' | 'node';
  readonly above: number;
  readonly runbook: string;
}

export interface DeclaredAlert {
  readonly probe: AnyProbe;
  readonly alert: AnyAlert;
  readonly metric: MetricDescriptor;
  /** Label values for the alert's test. */
  readonly labels: Readonly<Record<string, string>>;
}

export const ALL: View = { matchers: [], window: '5m' };
export const PODS = narrow(ALL, 'pod!=""');
export const NODES = narrow(ALL, 'pod=""');
const VIEWS = { pods: PODS, node: NODES } as const;

/** Names the Pod, or the node if the series has no Pod. */
export const WHO =
  '{{ if $labels.pod }}{{ $labels.namespace }}/{{ $labels.pod }} on node{{ else }}Node{{ end }} {{ $labels.node }}';

export function declaredAlerts(probes: readonly AnyProbe[] = PROBES): DeclaredAlert[] {
  return probes.flatMap((probe) =>
    ((probe.alerts ?? []) as readonly AnyAlert[]).map((alert) => {
      const metric = (probe.metrics as MetricSet)[alert.metric];
      if (metric === undefined)
        throw new Error(`${alert.name} looks at ${alert.metric}, which is no metric of its probe`);
      const labels = Object.entries(metric.labels).map(([name, label]) => [
        name,
        isClosed(label) ? label.values[0] : label.example,
      ]);
      return { probe, alert, metric, labels: Object.fromEntries(labels) };
    }),
  );
}

export function probeAlerts(probes: readonly AnyProbe[] = PROBES): Alert[] {
  return declaredAlerts(probes).map(({ alert, metric }) => {
    const { name, severity, of, by = [], only, above, for: duration, summary, description } = alert;
    const view = only === undefined ? ALL : VIEWS[only];
    const labels = [...BY_ENTITY, ...by] as never[];
    const value = of === 'rate' ? rate(metric as Counting, view, labels) : gauge('max', metric as Gauge, view, labels);
    return {
      name,
      severity,
      expression: promql`${value} > ${above}`,
      for: duration,
      summary: `${WHO} ${summary}`,
      description,
    };
  });
}

/** Renders an alert's summary template as Prometheus does. */
export function summaryText(
  { summary }: AnyAlert,
  who: string,
  labels: Readonly<Record<string, string>>,
  value: number,
): string {
  const text = summary
    .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => labels[label] ?? '')
    .replaceAll('{{ $value | humanizePercentage }}', `${fourDigits(value * 100)}%`)
    .replaceAll('{{ $value | humanize }}', humanize(value));
  return `${who} ${text}`;
}

function fourDigits(value: number): string {
  return String(Number(value.toPrecision(4)));
}

const LARGER = ['', 'k', 'M', 'G', 'T'] as const;
const SMALLER = ['', 'm', 'u', 'n'] as const;

/** Renders four digits and a unit prefix like Prometheus' function `humanize`. */
function humanize(value: number): string {
  const isSmall = value < 1;
  const prefixes = isSmall ? SMALLER : LARGER;
  const power = Math.min(prefixes.length - 1, Math.abs(Math.floor(Math.log10(value) / 3)));
  return `${fourDigits(value / 1_000 ** (isSmall ? -power : power))}${prefixes[power]}`;
}
