import type { AnyProbe } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';
import type { MetricSet } from '#probe/metric.ts';
import type { PanelShow, ProbePanel } from '#probe/panel.ts';
import { type EventType, PROBES } from '#probes/index.ts';
import type { Section } from './dashboard.ts';
import { graph, type Series, series, WIDTH } from './panels.ts';
import { type Counting, type Distribution, type Expression, type Gauge, gauge, quantile, rate } from './promql.ts';
import { OF_NODE, OF_POD } from './views.ts';

/** Panels that the definitions of probes declare, with one section per probe. */

/** A panel without its type parameters, which were checked in the probe's definition. */
interface AnyLine {
  readonly metric: string;
  readonly show: PanelShow;
  readonly by: readonly string[];
  readonly legend?: string;
}
type AnyPanel = Omit<ProbePanel<MetricSet, EventSet>, 'lines'> & { readonly lines: readonly AnyLine[] };

const VIEWS = { pod: OF_POD, node: OF_NODE } as const;
/** Widths of one, two or three panels that together fill a line of the dashboard. */
const WIDTHS = [WIDTH.whole, WIDTH.half, WIDTH.third] as const;

/** Returns a collapsed section for each probe that declares panels for this dashboard, in the order of the probes. */
export function probeSections(on: AnyPanel['on'], probes: readonly AnyProbe[] = PROBES): Section[] {
  return probes.flatMap(({ name, metrics, panels = [] }) => {
    const shown = (panels as readonly AnyPanel[]).filter((panel) => panel.on === on);
    if (shown.length === 0) return [];
    const built = shown.map((panel, index) => panelOf(metrics as MetricSet, panel, widthOf(index, shown.length)));
    return [{ title: `Probe ${name}`, folded: true, panels: built }];
  });
}

/** Returns the width of a panel. A line has three panels, and the last line may have fewer. */
function widthOf(index: number, count: number): number {
  const last = count - (count % WIDTHS.length);
  return index < last ? WIDTH.third : (WIDTHS[count - last - 1] ?? WIDTH.whole);
}

function panelOf(metrics: MetricSet, { on, title, lines, what, empty, limits, events = [] }: AnyPanel, width: number) {
  return graph(
    title,
    lines.map((line) => seriesOf(metrics, line, on)),
    {
      width,
      ...(what === undefined ? {} : { what }),
      ...(empty === undefined ? {} : { empty }),
      ...(limits === undefined ? {} : { limits }),
      events: events as readonly EventType[],
    },
  );
}

function seriesOf(metrics: MetricSet, line: AnyLine, on: AnyPanel['on']): Series {
  const labels = line.by.map((label) => `{{${label}}}`);
  const legend = [...(line.legend === undefined ? [] : [line.legend]), ...labels].join(' ');
  return series(expressionOf(metrics, line, on), legend === '' ? line.metric : legend);
}

function expressionOf(metrics: MetricSet, { metric: key, show, by }: AnyLine, on: AnyPanel['on']): Expression {
  const metric = metrics[key];
  if (metric === undefined) throw new Error(`a panel shows ${key}, which is no metric of its probe`);
  const [view, labels] = [VIEWS[on], by as readonly never[]];
  if (show === 'rate') return rate(metric as Counting, view, labels);
  if (show === 'p99') return quantile(0.99, metric as Distribution, view, labels);
  return gauge(show, metric as Gauge, view, labels);
}
