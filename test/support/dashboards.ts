import { DASHBOARDS } from '../../dashboards/netsonde/index.ts';

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat?: string;
}

/** Fields of a panel in Grafana's format. */
export interface PanelModel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly targets?: readonly Target[];
  readonly transformations?: readonly {
    readonly id: string;
    readonly options: { readonly renameByName: Readonly<Record<string, string>> };
  }[];
  readonly fieldConfig?: {
    readonly defaults: { readonly noValue?: string; readonly unit?: string };
    readonly overrides: readonly {
      readonly matcher: { readonly options: string };
      readonly properties: readonly object[];
    }[];
  };
  readonly panels?: readonly PanelModel[];
}

export interface DashboardModel {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly PanelModel[];
  readonly templating: {
    readonly list: readonly {
      readonly name: string;
      readonly type: string;
      readonly query: string;
      readonly regex?: string;
    }[];
  };
}

/** The dashboards in Grafana's JSON format. */
export const MODELS = JSON.parse(JSON.stringify(DASHBOARDS)) as readonly DashboardModel[];

/** Returns all panels, including panels in collapsed rows but excluding the rows themselves. */
export function panelsOf({ panels }: DashboardModel): PanelModel[] {
  return panels.flatMap((panel) => (panel.type === 'row' ? (panel.panels ?? []) : [panel]));
}

export interface Query {
  readonly dashboard: string;
  /** The panel's title, followed by the column title in a table, or by the legend in a graph with several queries. */
  readonly name: string;
  readonly panel: PanelModel;
  readonly expr: string;
}

/** Returns all panel queries for a type of data source. */
export function queriesOf(type: 'prometheus' | 'loki'): Query[] {
  return MODELS.flatMap((model) =>
    panelsOf(model)
      .filter(({ datasource }) => datasource?.type === type)
      .flatMap((panel) =>
        (panel.targets ?? []).map((target) => ({
          dashboard: model.uid,
          name: nameOf(panel, target),
          panel,
          expr: target.expr,
        })),
      ),
  );
}

function nameOf({ title, targets = [], transformations = [] }: PanelModel, { refId, legendFormat }: Target): string {
  const column = transformations.find(({ id }) => id === 'organize')?.options.renameByName[`Value #${refId}`];
  return targets.length === 1 ? title : `${title}: ${column ?? legendFormat ?? refId}`;
}

const EVERYTHING = '.*';

/** Replaces variables as Grafana does. @param values values of variables; other variables have the value of `All` */
export function interpolate(expr: string, values: Readonly<Record<string, string>>): string {
  return expr.replaceAll(/\$(\w+)/g, (_, name: string) => values[name] ?? EVERYTHING);
}
