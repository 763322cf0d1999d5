import { UIDS } from '../../dashboards/netsonde/links.ts';
import { interpolate, MODELS, type PanelModel, panelsOf } from './dashboards.ts';
import type { PrometheusServer } from './prometheus.ts';

/** The node graph of the dashboard *Map*, and the answers of Prometheus to its queries. */

export const NODE_GRAPH = panelOf('nodeGraph');
/** Answers that were recorded over the shop with two faults (test/soak/shop_dashboards.test.ts). */
export const MAP_ANSWERS = new URL('../fixtures/map_answers.json', import.meta.url);

function panelOf(type: string): PanelModel {
  const model = MODELS.find(({ uid }) => uid === UIDS.map);
  const panel = model && panelsOf(model).find((each) => each.type === type);
  if (panel === undefined) throw new Error(`the dashboard has no panel ${type}`);
  return panel;
}

/** A sample of an instant query, as the API of Prometheus returns it. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [seconds: number, value: string];
}

/** A query of the panel with its answer. */
export interface Answer {
  readonly refId: string;
  readonly expr: string;
  readonly result: readonly Sample[];
}

/** Returns the queries of the panel for everything that a server has. */
export function graphQueries(): { readonly refId: string; readonly expr: string }[] {
  return (NODE_GRAPH.targets ?? []).map(({ refId, expr }) => ({ refId, expr: interpolate(expr, {}) }));
}

/** Answers all queries of the panel for the same moment. */
export async function askGraph(prometheus: PrometheusServer): Promise<Answer[]> {
  const { result: clock } = await prometheus.get<{ result: readonly [number, string] }>('query?query=time()');
  const [now] = clock;
  return Promise.all(
    graphQueries().map(async ({ refId, expr }) => {
      const { result } = await prometheus.get<{ result: readonly Sample[] }>(
        `query?time=${now}&query=${encodeURIComponent(expr)}`,
      );
      return { refId, expr, result };
    }),
  );
}
