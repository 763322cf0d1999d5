import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  BigValueColorMode,
  BigValueGraphMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LogsSortOrder,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type DashboardLink,
  DashboardLinkBuilder,
  type Panel,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as LogsBuilder } from '@grafana/grafana-foundation-sdk/logs';
import { DataqueryBuilder as LokiQuery } from '@grafana/grafana-foundation-sdk/loki';
import { DataqueryBuilder as PrometheusQuery, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import type { EventType } from '#probes/index.ts';
import { EDGE } from './flow_risks.ts';
import { eventsLink, nodeLink, podLink } from './links.ts';
import { needsOf } from './needs.ts';
import type { Expression, Metric } from './promql.ts';
import { LOKI, PROMETHEUS } from './variables.ts';

/** Widths in Grafana's units. A row has 24. */
export const WIDTH = { eighth: 3, sixth: 4, quarter: 6, third: 8, half: 12, whole: 24 } as const;
export const HEIGHT = { tile: 4, graph: 8, table: 10, log: 12 } as const;

/** Names of queries, in their order within a panel. */
export const REF_IDS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** Colours of values without trouble, of a warning, and of an alert. */
export const COLOURS = ['green', 'orange', 'red'] as const;

/** Lower limits of the values that a panel shows as a warning and as an alert. */
export type Limits = readonly [warning: number, bad?: number];

export interface Options {
  readonly width?: number;
  readonly height?: number;
  /** Explanation that precedes the help texts of the metrics. */
  readonly what?: string;
  /** Reason why the panel may be empty although the probe runs. */
  readonly empty?: string;
  readonly limits?: Limits;
  readonly unit?: string;
  /** Event types to which the panel links. */
  readonly events?: readonly EventType[];
}

export interface Series {
  readonly expression: Expression;
  readonly legend: string;
}

export function series(expression: Expression, legend: string): Series {
  return { expression, legend };
}

function describe(metrics: readonly Metric[], { what }: Options): string {
  const lines = metrics.map(({ name, help }) => `- \`${name}\`: ${help}`);
  return [...(what === undefined ? [] : [what]), lines.join('\n'), ...needsOf(metrics)].filter(Boolean).join('\n\n');
}

/** Returns why a panel may be empty without an error. */
function emptyText(metrics: readonly Metric[], { empty }: Options): string | undefined {
  const reasons = [...(empty === undefined ? [] : [empty]), ...needsOf(metrics)];
  return reasons.length === 0 ? undefined : reasons.join(' ').replaceAll('`', '');
}

function steps(limits: Limits): ThresholdsConfigBuilder {
  const list: Threshold[] = COLOURS.slice(0, limits.length + 1).map((color, index) => ({
    color,
    value: index === 0 ? null : (limits[index - 1] ?? null),
  }));
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(list);
}

interface PanelBuilder extends Builder<Panel> {
  title(title: string): this;
  description(description: string): this;
  datasource(datasource: { type: string; uid: string }): this;
  span(width: number): this;
  height(height: number): this;
  unit(unit: string): this;
  noValue(text: string): this;
  thresholds(thresholds: ThresholdsConfigBuilder): this;
  links(links: Builder<DashboardLink>[]): this;
}

function metricsOf(expressions: readonly Expression[]): Metric[] {
  return [...new Set(expressions.flatMap(({ metrics }) => metrics))];
}

/** Sets the properties that all panels with a Prometheus data source share. */
export function prepare<P extends PanelBuilder>(
  panel: P,
  title: string,
  expressions: readonly Expression[],
  options: Options,
  size: { readonly width: number; readonly height: number },
): P {
  const metrics = metricsOf(expressions);
  const reason = emptyText(metrics, options);
  panel
    .title(title)
    .description(describe(metrics, options))
    .datasource(PROMETHEUS)
    .span(options.width ?? size.width)
    .height(options.height ?? size.height)
    .unit(options.unit ?? expressions[0]?.unit ?? 'short')
    .links((options.events ?? []).map((type) => link(`Events: ${type}`, eventsLink(type))));
  if (reason !== undefined) panel.noValue(reason);
  if (options.limits !== undefined) panel.thresholds(steps(options.limits));
  return panel;
}

function link(title: string, url: string): DashboardLinkBuilder {
  return new DashboardLinkBuilder(title).url(url);
}

/** Returns a panel with one coloured number that links to another dashboard. */
export function tile(
  title: string,
  expression: Expression,
  options: Options & { readonly opens?: string },
): StatBuilder {
  const panel = prepare(new StatBuilder(), title, [expression], options, { width: WIDTH.eighth, height: HEIGHT.tile })
    .withTarget(new PrometheusQuery().refId('A').expr(expression.text).instant())
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']).values(false).fields(''))
    .colorMode(options.limits === undefined ? BigValueColorMode.None : BigValueColorMode.Background)
    .graphMode(BigValueGraphMode.None)
    .decimals(expression.unit === 'short' ? 0 : 1);
  return options.opens === undefined ? panel : panel.dataLinks([link('Open', options.opens)]);
}

interface GraphOptions extends Options {
  /** Whether to stack the lines, because their sum has a meaning. */
  readonly stacked?: boolean;
  /** Label of the lines that is also an event field. A click on a line shows the events with the same value. */
  readonly eventsBy?: string;
  /** Upper end of the axis, such as 1 for a share. */
  readonly max?: number;
}

export function graph(title: string, lines: readonly Series[], options: GraphOptions = {}): GraphBuilder {
  const panel = prepare(
    new GraphBuilder(),
    title,
    lines.map(({ expression }) => expression),
    options,
    { width: WIDTH.third, height: HEIGHT.graph },
  )
    .targets(
      lines.map(({ expression, legend }, index) =>
        new PrometheusQuery().refId(REF_IDS.charAt(index)).expr(expression.text).legendFormat(legend).range(),
      ),
    )
    .min(0)
    .lineWidth(1)
    .fillOpacity(options.stacked === true ? 30 : 0)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.Table)
        .placement(LegendPlacement.Bottom)
        .showLegend(true)
        .calcs(['lastNotNull', 'max'])
        .sortBy('Max')
        .sortDesc(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
  if (options.stacked === true) panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
  if (options.max !== undefined) panel.max(options.max);
  if (options.limits !== undefined) {
    panel.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  }
  const [type] = options.events ?? [];
  if (options.eventsBy !== undefined && type !== undefined) {
    panel.dataLinks([link('Events of this', eventsLink(type, options.eventsBy))]);
  }
  return panel;
}

export interface Column {
  readonly title: string;
  readonly expression: Expression;
  readonly limits?: Limits;
  /** Whether to hide the value, because the labels are enough. */
  readonly hidden?: boolean;
}

const MERGED_LABELS = ['cluster', 'node', 'namespace', 'pod', ...EDGE];

/**
 * Returns a table with one row per set of labels and one column per expression, with the worst rows first.
 * @param labels columns of labels, in their order
 */
export function table(
  title: string,
  columns: readonly Column[],
  options: Options = {},
  labels: readonly string[] = MERGED_LABELS,
): TableBuilder {
  const panel = prepare(
    new TableBuilder(),
    title,
    columns.map(({ expression }) => expression),
    options,
    { width: WIDTH.whole, height: HEIGHT.table },
  )
    .targets(
      columns.map(({ expression }, index) =>
        new PrometheusQuery()
          .refId(REF_IDS.charAt(index))
          .expr(expression.text)
          .instant()
          .format(PromQueryFormat.Table),
      ),
    )
    .filterable(true)
    .sortBy([{ build: () => ({ displayName: columns[0]?.title ?? '', desc: true }) }]);
  for (const { title: name, expression, limits } of columns) {
    panel.overrideByName(name, [
      { id: 'unit', value: expression.unit },
      { id: 'decimals', value: expression.unit === 'short' ? 0 : 1 },
      ...(limits === undefined
        ? []
        : [
            { id: 'thresholds', value: steps(limits).build() },
            { id: 'custom.cellOptions', value: { type: 'color-text' } },
          ]),
    ]);
  }
  return panel
    .overrideByName('pod', [{ id: 'links', value: [{ title: 'This Pod', url: podLink }] }])
    .overrideByName('node', [{ id: 'links', value: [{ title: 'This node', url: nodeLink }] }])
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({ id: 'organize', options: organized(columns, labels) });
}

/** Renames the columns. Grafana calls the value of a query `Value #A`, or `Value` if there is only one query. */
function organized(columns: readonly Column[], labels: readonly string[]) {
  const named = columns.map((column, index) => ({
    ...column,
    value: columns.length === 1 ? 'Value' : `Value #${REF_IDS.charAt(index)}`,
  }));
  const order = [...labels, ...named.map(({ value }) => value)];
  return {
    excludeByName: Object.fromEntries(
      ['Time', ...named.filter(({ hidden }) => hidden === true).map(({ value }) => value)].map((name) => [name, true]),
    ),
    indexByName: Object.fromEntries(order.map((name, index) => [name, index])),
    renameByName: Object.fromEntries(named.map(({ value, title }) => [value, title])),
  };
}

interface EventOptions {
  readonly what?: string;
  readonly width?: number;
}

function ofLoki<P extends PanelBuilder>(
  panel: P,
  title: string,
  options: EventOptions,
  width: number,
  height: number,
): P {
  return panel
    .title(title)
    .description(options.what ?? '')
    .datasource(LOKI)
    .span(options.width ?? width)
    .height(height)
    .noValue('No event, or no sink that takes them to Loki.');
}

/** Returns a graph of events per second. */
export function eventGraph(title: string, query: string, options: EventOptions = {}): GraphBuilder {
  return ofLoki(new GraphBuilder(), title, options, WIDTH.whole, HEIGHT.graph)
    .withTarget(new LokiQuery().refId('A').expr(query).queryType('range').legendFormat('{{type}}'))
    .unit('cps')
    .legend(new VizLegendOptionsBuilder().placement(LegendPlacement.Bottom).showLegend(true))
    .min(0)
    .lineWidth(1)
    .fillOpacity(30)
    .stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
}

export function eventTable(title: string, query: string, options: EventOptions = {}): TableBuilder {
  return ofLoki(new TableBuilder(), title, options, WIDTH.whole, HEIGHT.table)
    .withTarget(new LokiQuery().refId('A').expr(query).queryType('instant'))
    .filterable(true)
    .sortBy([{ build: () => ({ displayName: 'Events', desc: true }) }])
    .overrideByName('pod', [{ id: 'links', value: [{ title: 'This Pod', url: podLink }] }])
    .overrideByName('node', [{ id: 'links', value: [{ title: 'This node', url: nodeLink }] }])
    .withTransformation({ id: 'labelsToFields', options: { mode: 'columns' } })
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: { Time: true },
        indexByName: {},
        renameByName: { 'Value #A': 'Events', Value: 'Events' },
      },
    });
}

export function eventLog(title: string, query: string, options: EventOptions = {}): LogsBuilder {
  return ofLoki(new LogsBuilder(), title, options, WIDTH.whole, HEIGHT.log)
    .withTarget(new LokiQuery().refId('A').expr(query).queryType('range').maxLines(500))
    .showTime(true)
    .wrapLogMessage(true)
    .enableLogDetails(true)
    .sortOrder(LogsSortOrder.Descending);
}
