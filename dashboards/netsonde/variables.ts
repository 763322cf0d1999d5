import {
  CustomVariableBuilder,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  TextBoxVariableBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { sock } from '#probes/sock.ts';
import { EVENT_TYPES } from './logql.ts';
import { type Metric, select } from './promql.ts';
import { IS_POD, OF_NAMESPACE, OF_WORKLOAD, WORKLOAD_OF_POD } from './views.ts';

/**
 * Variables at the top of a dashboard. The value of `All` is `.*`, which also matches series without the label and
 * keeps queries short.
 */

const ALL = { text: 'All', value: '$__all' };

export const PROMETHEUS = { type: 'prometheus', uid: '${datasource}' };
export const LOKI = { type: 'loki', uid: '${loki}' };

export const VARIABLES = {
  datasource: () => new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'),
  loki: () => new DatasourceVariableBuilder('loki').label('Loki').type('loki'),
  cluster: () => choice('cluster', 'Cluster', AGENT_METRICS.buildInfo, []),
  node: () => choice('node', 'Node', AGENT_METRICS.buildInfo, ['cluster']),
  namespace: () => choice('namespace', 'Namespace', sock.metrics.used, ['cluster', 'node']),
  /** Namespaces of the selected clusters, for dashboards without the variable *Node*. */
  namespaceOfCluster: () => choice('namespace', 'Namespace', sock.metrics.used, ['cluster']),
  workload: () =>
    everything(
      values('workload', 'Workload', sock.metrics.used, 'pod', [...OF_NAMESPACE, IS_POD])
        .regex(`/${WORKLOAD_OF_POD}/`)
        .description('Derived from the names of the Pods.'),
    ),
  pod: () => everything(values('pod', 'Pod', sock.metrics.used, 'pod', [...OF_WORKLOAD, IS_POD])),
  /** Pods of the selected namespaces, for dashboards without the variable *Workload*. */
  podOfNamespace: () => everything(values('pod', 'Pod', sock.metrics.used, 'pod', [...OF_NAMESPACE, IS_POD])),
  type: () =>
    new CustomVariableBuilder('type')
      .label('Type')
      .values(EVENT_TYPES.map(({ type }) => type).join(','))
      .multi(true)
      .includeAll(true)
      .allValue('.*')
      .current(ALL),
  search: () =>
    new TextBoxVariableBuilder('search').label('Text').description('Any text of the event, as a regular expression.'),
} as const;

/** Returns the variables of a dashboard about Pods that shows events as well. */
export const podVariables = () => [
  VARIABLES.datasource(),
  VARIABLES.loki(),
  VARIABLES.cluster(),
  VARIABLES.node(),
  VARIABLES.namespace(),
  VARIABLES.workload(),
  VARIABLES.pod(),
];

function values(name: string, label: string, metric: Metric, of: string, matchers: readonly string[]) {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(PROMETHEUS)
    .query(`label_values(${select(metric, { matchers, window: '' })}, ${of})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.NaturalAsc);
}

function everything(variable: QueryVariableBuilder): QueryVariableBuilder {
  return variable.multi(true).includeAll(true).allValue('.*').current(ALL);
}

/** Returns a variable with the values of a label in the series that the preceding variables select. */
function choice(name: string, label: string, metric: Metric, before: readonly string[]): QueryVariableBuilder {
  return everything(
    values(
      name,
      label,
      metric,
      name,
      before.map((variable) => `${variable}=~"$${variable}"`),
    ),
  );
}
