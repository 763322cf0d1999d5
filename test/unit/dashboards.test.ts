import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { EventDescriptor } from '#probe/event.ts';
import type { MetricSet } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { RECORDINGS } from '../../dashboards/netsonde/alerts.ts';
import { CPU_SECONDS, RESIDENT_MEMORY, UP } from '../../dashboards/netsonde/foreign.ts';
import { UIDS } from '../../dashboards/netsonde/links.ts';
import { WORKLOAD_OF_POD, WORKLOAD_OF_POD_RE2 } from '../../dashboards/netsonde/views.ts';
import { interpolate, MODELS, type PanelModel, panelsOf, queriesOf } from '../support/dashboards.ts';
import { isSeries } from '../support/descriptors.ts';
import { isLogql } from '../support/logql.ts';
import { lacks } from '../support/programs.ts';
import { checkPromql } from '../support/promtool.ts';

const GRID_WIDTH = 24;
const DURATIONS = { __rate_interval: '1m', __range: '1h', __auto: '1m' };
/** Grafana's built-in variables. */
const BUILT_IN = [
  '__all',
  '__all_variables',
  '__auto',
  '__data',
  '__field',
  '__range',
  '__rate_interval',
  '__url_time_range',
];

function* objectsIn(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const inner of Object.values(value)) yield* objectsIn(inner);
}

function overlap(a: PanelModel['gridPos'], b: PanelModel['gridPos']): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

describe.each(MODELS.map((model) => [model.uid, model] as const))('%s', (uid, model) => {
  const text = JSON.stringify(model);

  it('is the committed file', () => {
    const path = new URL(`../../dashboards/grafana/${uid}.json`, import.meta.url);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(model);
  });

  it('numbers its panels, and names the queries of each', () => {
    const all = model.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
    const ids = all.map(({ id }) => id);
    expect(ids.every(Number.isInteger)).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { targets = [] } of all) expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
  });

  it('takes its data sources from variables', () => {
    const sources = [...objectsIn(model)].flatMap(({ datasource }) => (datasource === undefined ? [] : [datasource]));
    expect(sources.length).toBeGreaterThan(panelsOf(model).length);
    for (const source of sources) {
      expect([
        { type: 'prometheus', uid: '${datasource}' },
        { type: 'loki', uid: '${loki}' },
      ]).toContainEqual(source);
    }
    for (const panel of panelsOf(model)) expect(panel.datasource, panel.title).toBeDefined();
  });

  it('has every variable that it uses', () => {
    const names = model.templating.list.map(({ name }) => name);
    const used = [...text.matchAll(/\$\{?(\w+)/g)].map(([, name = '']) => name);
    for (const name of used.filter((candidate) => !BUILT_IN.includes(candidate))) expect(names).toContain(name);
  });

  it('lays its panels out in full rows, without overlaps', () => {
    const shown = model.panels;
    for (const [index, panel] of shown.entries()) {
      expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(GRID_WIDTH);
      for (const other of shown.slice(index + 1)) {
        expect(overlap(panel.gridPos, other.gridPos), `${panel.title}, ${other.title}`).toBe(false);
      }
    }
    const lines = Map.groupBy(panelsOf(model), ({ gridPos }) => gridPos.y);
    for (const panels of lines.values()) {
      const width = panels.reduce((sum, { gridPos }) => sum + gridPos.w, 0);
      expect(width, panels.map(({ title }) => title).join()).toBe(GRID_WIDTH);
    }
  });

  it('links to existing dashboards and events', () => {
    const links = [...text.matchAll(/\/d\/([\w-]+)[^"]*/g)];
    for (const [url, target] of links) {
      expect(Object.values(UIDS)).toContain(target);
      const [, type] = /var-type=(\w+)/.exec(url) ?? [];
      if (type === undefined) continue;
      const event = PROBES.map(({ events }) => (events as Record<string, EventDescriptor>)[type]).find(Boolean);
      expect(event, type).toBeDefined();
      const [, field] = /var-search=%22(\w+)%22/.exec(url) ?? [];
      if (field !== undefined) expect(Object.keys(event?.fields ?? {})).toContain(field);
    }
  });

  it('describes each panel', () => {
    for (const { title, description = '', datasource } of panelsOf(model)) {
      expect(title).toMatch(/^[A-Z]/);
      if (datasource?.type === 'prometheus') expect(description, title).toMatch(/`\w+`: \S/);
    }
  });
});

it('no two dashboards share a uid or a title', () => {
  for (const key of ['uid', 'title'] as const)
    expect(new Set(MODELS.map((model) => model[key])).size).toBe(MODELS.length);
});

describe('the queries of Prometheus', () => {
  const queries = queriesOf('prometheus');

  it.skipIf(lacks('promtool'))('pass promtool', () => {
    checkPromql(queries.map(({ expr }) => interpolate(expr, DURATIONS)));
  });

  it('ask for existing metrics', () => {
    const foreign: string[] = [
      ...[UP, CPU_SECONDS, RESIDENT_MEMORY].map(({ name }) => name),
      ...RECORDINGS.map(({ record }) => record),
    ];
    for (const { expr } of queries) {
      const names = [...expr.matchAll(/([\w:]+)\{/g)].map(([, name = '']) => name);
      expect(names.length).toBeGreaterThan(0);
      for (const name of names) expect(isSeries(name) || foreign.includes(name), name).toBe(true);
    }
  });

  it('keep the label that a click on a series passes to the events', () => {
    for (const { panel, expr } of queries) {
      const [, label] = /__field\.labels\.(\w+)/.exec(JSON.stringify(panel)) ?? [];
      if (label !== undefined) expect(expr).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
    }
  });

  it('have legends of labels that they keep', () => {
    for (const model of MODELS) {
      for (const panel of panelsOf(model)) {
        for (const { expr, legendFormat = '' } of panel.targets ?? []) {
          for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
            expect(expr, `${panel.title}: ${label}`).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
          }
        }
      }
    }
  });

  it('of a probe that is off by default say so', () => {
    for (const { panel, expr } of queries) {
      for (const probe of PROBES.filter(({ enabledByDefault }) => !enabledByDefault)) {
        const shown = Object.values(probe.metrics as MetricSet).some(({ name }) => expr.includes(name));
        if (shown) expect(panel.fieldConfig?.defaults.noValue).toContain(`The probe ${probe.name} is off by default`);
      }
    }
  });
});

describe('the queries of Loki', () => {
  it.each(queriesOf('loki').map(({ dashboard, panel, expr }) => [`${dashboard}: ${panel.title}`, expr]))(
    '%s',
    (_, expr) => {
      expect(isLogql(interpolate(expr, DURATIONS))).toBe(true);
    },
  );

  it('are rejected if they are wrong', () => {
    for (const text of ['{job="netsonde"', '{job=netsonde}', 'sum by (type) (rate({job="x"}))', '{job="x"} | json |']) {
      expect(isLogql(text), text).toBe(false);
    }
  });
});

describe('the workload of a Pod', () => {
  const expression = new RegExp(WORKLOAD_OF_POD);

  it.each([
    ['cart-7d4b9c6f8d-x2x9k', 'cart'],
    ['cart-db-5f6dc8b7b9-2wqzr', 'cart-db'],
    ['coredns-6799fbcd5-lrgxk', 'coredns'],
    ['redis-0', 'redis'],
    ['redis-cluster-12', 'redis-cluster'],
    ['netsonde-4n7xk', 'netsonde'],
    ['backup-28931220-vxq2p', 'backup'],
    ['etcd-master', 'etcd-master'],
    ['web-front', 'web-front'],
    ['single', 'single'],
  ])('%s is of %s', (pod, workload) => {
    expect(expression.exec(pod)?.groups?.['value']).toBe(workload);
    // Prometheus anchors the expression at both ends.
    expect(new RegExp(`^(?:${WORKLOAD_OF_POD_RE2})$`).exec(pod)?.[1]).toBe(workload);
  });

  it('matches the variable and the queries', () => {
    const [variable] = MODELS.flatMap(({ templating }) => templating.list.filter(({ name }) => name === 'workload'));
    expect(variable?.regex).toBe(`/${WORKLOAD_OF_POD}/`);
    const query = queriesOf('prometheus').find(({ dashboard }) => dashboard === UIDS.pod);
    const [matcher = ''] = /(?<=pod=~")\$workload[^"]*/.exec(query?.expr ?? '') ?? [];
    const ofCart = new RegExp(`^(?:${interpolate(matcher, { workload: 'cart' })})$`);
    for (const pod of ['cart-7d4b9c6f8d-x2x9k', 'cart-0', 'cart-x2x9k', 'cart']) expect(pod).toMatch(ofCart);
    for (const pod of ['cart-db-0', 'cartridge-0']) expect(pod).not.toMatch(ofCart);
  });
});
