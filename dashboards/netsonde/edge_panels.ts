import {
  ArcOptionBuilder,
  EdgeOptionsBuilder,
  PanelBuilder as NodeGraphBuilder,
  NodeOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/nodegraph';
import { DataqueryBuilder as PrometheusQuery } from '@grafana/grafana-foundation-sdk/prometheus';
import type { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { MAP_EDGE, TROUBLES } from './edge_rules.ts';
import {
  bytesOf,
  edgeFields,
  failedShareOf,
  type GraphField,
  LINES,
  nodeFields,
  rateOf,
  type Scope,
  troubleOf,
} from './edges.ts';
import { workloadLink } from './links.ts';
import { type Options, prepare, REF_IDS, table, WIDTH } from './panels.ts';
import { putLabel, top } from './promql.ts';
import { FAILED_CONNECTS } from './risks.ts';

/** Panels with the edges of the map. */

/** Height in Grafana's units. */
const GRAPH_HEIGHT = 22;
/** Number of edges that each column contributes to a table. */
const ROWS = 50;
const [FINE, NOTICE, BAD] = LINES;

/** Returns links to the dashboards of a workload. Node graphs show the part before the slash as a heading. */
function workloadLinks(heading: string, namespace: string, workload: string) {
  const links = [
    { title: `${heading}/Its Pods`, url: workloadLink('pod', namespace, workload) },
    { title: `${heading}/Its flows`, url: workloadLink('flows', namespace, workload) },
  ];
  return [{ id: 'links', value: links }];
}

/**
 * Returns a node graph. Each field of its two frames is a query, whose label `stat` is the name of the field, because a
 * node graph ignores names that the transformation `organize` gives. Grafana takes the frame with a field `source` as
 * that of the edges (grafana: public/app/plugins/panel/nodeGraph/utils.ts).
 */
export function nodeGraph(title: string, scope: Scope, options: Options): NodeGraphBuilder {
  const [edges, nodes] = [edgeFields(scope), nodeFields(scope)];
  const fields = [...edges, ...nodes].map((field, index) => ({ ...field, refId: REF_IDS.charAt(index) }));
  const merged = (some: readonly GraphField[], first: number) => {
    const refIds = some.map((_, index) => REF_IDS.charAt(first + index));
    return { id: 'merge', filter: { id: 'byRefId', options: `/^(?:${refIds.join('|')})$/` }, options: {} };
  };
  const stats = { main: 'kB/s', secondary: '/s' };
  return prepare(
    new NodeGraphBuilder(),
    title,
    fields.map(({ expression }) => expression),
    { unit: 'short', ...options },
    { width: WIDTH.whole, height: GRAPH_HEIGHT },
  )
    .targets(
      fields.map(({ refId, name, expression }) =>
        new PrometheusQuery()
          .refId(refId)
          .expr(putLabel(expression.text, 'stat', name))
          .legendFormat(name)
          .instant(),
      ),
    )
    .edges(new EdgeOptionsBuilder().mainStatUnit(stats.main).secondaryStatUnit(stats.secondary))
    .nodes(
      new NodeOptionsBuilder()
        .mainStatUnit(stats.main)
        .secondaryStatUnit(stats.secondary)
        .arcs([
          new ArcOptionBuilder().field('arc__fine').color(FINE.color),
          new ArcOptionBuilder().field('arc__notice').color(NOTICE.color),
          new ArcOptionBuilder().field('arc__bad').color(BAD.color),
        ]),
    )
    .overrideByName('arc__fine', [{ id: 'displayName', value: 'without trouble' }])
    .overrideByName('arc__notice', [{ id: 'displayName', value: 'worth a look' }])
    .overrideByName('arc__bad', [{ id: 'displayName', value: 'bad' }])
    .overrideByName('detail__kind', [{ id: 'displayName', value: 'Kind' }])
    .overrideByName('detail__failed', [
      { id: 'displayName', value: 'Failed to connect' },
      { id: 'unit', value: 'percentunit' },
    ])
    .overrideByName('detail__retransmitted', [
      { id: 'displayName', value: 'Retransmitted segments' },
      { id: 'unit', value: 'pps' },
    ])
    .overrideByName('title', workloadLinks('Workload', 'subtitle', 'title'))
    .overrideByName('client', workloadLinks('Client', 'source_namespace', 'client'))
    .overrideByName('server', workloadLinks('Server', 'target_namespace', 'server'))
    .withTransformation({ id: 'labelsToFields', options: { mode: 'columns', valueLabel: 'stat' } })
    .withTransformation({
      id: 'organize',
      options: { excludeByName: { Time: true }, indexByName: {}, renameByName: {} },
    })
    .withTransformation(merged(edges, 0))
    .withTransformation(merged(nodes, edges.length));
}

/** Returns a table of edges, those in trouble first. */
export function edgeTable(title: string, scope: Scope, options: Options): TableBuilder {
  const words = {
    [TROUBLES.notice]: { text: 'worth a look', color: NOTICE.color, index: 0 },
    [TROUBLES.bad]: { text: 'bad', color: BAD.color, index: 1 },
  };
  return table(
    title,
    [
      { title: 'Trouble', expression: top(ROWS, troubleOf(scope)) },
      {
        title: 'Failed to connect',
        expression: top(ROWS, failedShareOf(scope)),
        limits: [FAILED_CONNECTS.notice, FAILED_CONNECTS.alert],
      },
      { title: 'Retransmitted', expression: top(ROWS, rateOf('edge_retransmitted_segments', scope)) },
      { title: 'Connections', expression: top(ROWS, rateOf('edge_connections', scope)) },
      { title: 'Bytes', expression: top(ROWS, bytesOf(scope)) },
    ],
    options,
    MAP_EDGE,
  )
    .overrideByName('Trouble', [
      { id: 'mappings', value: [{ type: 'value', options: words }] },
      { id: 'custom.cellOptions', value: { type: 'color-text' } },
    ])
    .overrideByName('source', workloadLinks('Workload', 'source_namespace', 'source'))
    .overrideByName('target', workloadLinks('Workload', 'target_namespace', 'target'));
}
