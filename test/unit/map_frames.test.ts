import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { edgesOfGraph, nodeOfGraph } from '../shop/edges.ts';
import { type Frame, fieldNames, graphFrames, rowsOf, transformed } from '../support/grafana_frames.ts';
import { type Answer, graphQueries, MAP_ANSWERS, NODE_GRAPH } from '../support/map_panel.ts';

/**
 * Runs the transformations of the node graph with Grafana's own code, over answers of a Prometheus server that scraped
 * the shop. No Grafana draws the frames.
 */

const answers = JSON.parse(readFileSync(MAP_ANSWERS, 'utf8')) as readonly Answer[];
const [BAD] = edgesOfGraph(['shop/checkout > shop/orders:80']);

let edges: Frame;
let nodes: Frame;

beforeAll(async () => {
  const frames = graphFrames(await transformed(NODE_GRAPH.transformations ?? [], answers));
  expect([frames.edges.length, frames.nodes.length]).toEqual([1, 1]);
  [edges, nodes] = [frames.edges[0] as Frame, frames.nodes[0] as Frame];
});

const fieldOf = ({ fields }: Frame, name: string) => fields.find((field) => field.name === name);

/** Returns the values that Prometheus answered to the query behind a field, by the identifier of the edge or node. */
function answersTo(name: string, isFirst: boolean): Record<string, number> {
  const refIds = (NODE_GRAPH.targets ?? []).flatMap(({ refId, legendFormat }) =>
    legendFormat === name ? [refId] : [],
  );
  const refId = isFirst ? refIds.at(0) : refIds.at(-1);
  const result = answers.find((answer) => answer.refId === refId)?.result ?? [];
  return Object.fromEntries(result.map(({ metric, value: [, value] }) => [metric['id'], Number(value)]));
}

it('the answers belong to the queries of the panel; RECORD_MAP=1 records them again', () => {
  expect(answers.map(({ refId, expr }) => ({ refId, expr }))).toEqual(graphQueries());
});

describe('the frame of the edges', () => {
  it('has the fields of a node graph', () => {
    const { id, source, target, mainStat, secondaryStat, color, thickness, strokeDasharray } = fieldNames();
    const types = Object.fromEntries(edges.fields.map(({ name, type }) => [name.toLowerCase(), type]));
    for (const name of [id, source, target, color, strokeDasharray])
      expect(types[`${name}`.toLowerCase()], name).toBe('string');
    for (const name of [mainStat, secondaryStat, thickness])
      expect(types[`${name}`.toLowerCase()], name).toBe('number');
  });

  it('has each edge of the shop once', () => {
    expect(
      rowsOf(edges)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(edgesOfGraph().sort());
    for (const { id, source, target } of rowsOf(edges)) expect(id).toBe(`${source} > ${target}`);
  });

  it('has the values that Prometheus answered', () => {
    for (const name of ['mainstat', 'secondarystat', 'thickness', 'detail__failed', 'detail__retransmitted']) {
      const shown = rowsOf(edges).flatMap((row) => (row[name] === undefined ? [] : [[row['id'], row[name]]]));
      expect(shown.length, name).toBeGreaterThan(0);
      expect(Object.fromEntries(shown), name).toEqual(answersTo(name, true));
    }
  });

  it('has colours and dashes for trouble', () => {
    const lines = new Map(rowsOf(edges).map(({ id, color, strokedasharray }) => [id, [color, strokedasharray]]));
    expect(lines.get(BAD)).toEqual(['#f2495c', '10 4']);
    const [healthy] = edgesOfGraph(['shop/catalog > data/redis:6379']);
    expect(lines.get(healthy)).toEqual(['#8e8e8e', undefined]);
  });
});

describe('the frame of the nodes', () => {
  it('has the fields of a node graph', () => {
    const { id, title, subTitle, mainStat, secondaryStat, arc } = fieldNames();
    const types = Object.fromEntries(nodes.fields.map(({ name, type }) => [name.toLowerCase(), type]));
    for (const name of [id, title, subTitle]) expect(types[`${name}`.toLowerCase()], name).toBe('string');
    for (const name of [mainStat, secondaryStat]) expect(types[`${name}`.toLowerCase()], name).toBe('number');
    expect(nodes.fields.filter(({ name }) => name.startsWith(`${arc}`)).map(({ type }) => type)).toEqual([
      'number',
      'number',
      'number',
    ]);
  });

  it('has both ends of each edge, once', () => {
    const ends = new Set(rowsOf(edges).flatMap(({ source, target }) => [source, target]));
    expect(
      rowsOf(nodes)
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...ends].sort());
    const cart = rowsOf(nodes).find(({ id }) => id === nodeOfGraph('shop/cart'));
    expect(cart).toMatchObject({ title: 'cart', subtitle: 'shop', detail__kind: 'workload' });
  });

  it('has the values that Prometheus answered, and arcs that add up to a whole', () => {
    for (const name of ['mainstat', 'secondarystat', 'arc__bad']) {
      const shown = rowsOf(nodes).map((row) => [row['id'], row[name]]);
      expect(Object.fromEntries(shown), name).toEqual(answersTo(name, false));
    }
    for (const { arc__fine, arc__notice, arc__bad } of rowsOf(nodes))
      expect(Number(arc__fine) + Number(arc__notice) + Number(arc__bad)).toBeCloseTo(1);
  });
});

it('links and formats belong to fields of the frames', () => {
  const names = new Set([...edges.fields, ...nodes.fields].map(({ name }) => name));
  const overrides = NODE_GRAPH.fieldConfig?.overrides ?? [];
  expect(overrides.length).toBeGreaterThan(0);
  for (const override of overrides) {
    expect(names).toContain(override.matcher.options);
    const frame = [edges, nodes].find((each) => fieldOf(each, override.matcher.options) !== undefined);
    for (const [, field = ''] of JSON.stringify(override.properties).matchAll(/__data\.fields\.(\w+)/g))
      expect(frame?.fields.map(({ name }) => name)).toContain(field);
  }
});
