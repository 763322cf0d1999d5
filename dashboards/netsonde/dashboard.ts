import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  type Panel,
  RowBuilder,
  type VariableModel,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { TAG, UIDS } from './links.ts';

export interface Section {
  readonly title: string;
  /** Whether the row is collapsed, so that its panels send no queries until it is opened. */
  readonly folded?: boolean;
  readonly panels: readonly Builder<Panel>[];
}

export interface Contents {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Dashboards with links beside the menu, which keep the time range and the selection. */
  readonly related?: readonly (keyof typeof UIDS)[];
  readonly variables: readonly Builder<VariableModel>[];
  readonly sections: readonly Section[];
}

export function dashboard({ uid, title, description, related = [], variables, sections }: Contents): Dashboard {
  const builder = new DashboardBuilder(`netsonde / ${title}`)
    .uid(uid)
    .description(description)
    .tags([TAG])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('1m')
    .tooltip(DashboardCursorSync.Crosshair)
    .variables([...variables])
    .link(
      new DashboardLinkBuilder('netsonde')
        .type(DashboardLinkType.Dashboards)
        .tags([TAG])
        .asDropdown(true)
        .includeVars(true)
        .keepTime(true),
    );
  for (const name of related) builder.link(relatedLink(name));
  for (const section of sections) addSection(builder, section);
  return numbered(builder.build());
}

function relatedLink(name: keyof typeof UIDS): DashboardLinkBuilder {
  return new DashboardLinkBuilder(`${name.charAt(0).toUpperCase()}${name.slice(1)}`)
    .type(DashboardLinkType.Link)
    .url(`/d/${UIDS[name]}`)
    .includeVars(true)
    .keepTime(true);
}

function addSection(builder: DashboardBuilder, { title, folded = false, panels }: Section): void {
  const row = new RowBuilder(title).collapsed(folded);
  if (!folded) {
    builder.withRow(row);
    for (const panel of panels) builder.withPanel(panel);
    return;
  }
  for (const panel of panels) row.withPanel(panel);
  builder.withRow(row);
}

/** Gives each panel a number, including panels in collapsed rows, as Grafana requires. */
function numbered(built: Dashboard): Dashboard {
  let id = 0;
  for (const panel of built.panels ?? []) {
    panel.id = ++id;
    if (panel.type !== 'row') continue;
    for (const inner of (panel as { panels: Panel[] }).panels) inner.id = ++id;
  }
  return built;
}
