import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UIDS } from '../../dashboards/netsonde/links.ts';
import { EDGES, EXTERNAL, edgesOfGraph, nodeOfGraph } from '../shop/edges.ts';
import { Shop } from '../shop/shop.ts';
import { interpolate, type Query, queriesOf } from '../support/dashboards.ts';
import { graphFrames, rowsOf, transformed } from '../support/grafana_frames.ts';
import { only } from '../support/kernel.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { askGraph, MAP_ANSWERS, NODE_GRAPH } from '../support/map_panel.ts';
import { eventually } from '../support/oracle.ts';
import { PrometheusServer } from '../support/prometheus.ts';

/**
 * The dashboards *Map*, *Flows*, *Requests*, *DNS* and *Gateway* over the shop with two agents, of which each knows the names that it learns by
 * default. `RECORD_MAP=1` also records the answers to the queries of the node graph, with which the unit tests check
 * its transformations.
 */

const RULES = fileURLToPath(new URL('../../dashboards/rules/netsonde.yaml', import.meta.url));
/** Window of the rules in this test instead of five minutes. The shop runs a Job each minute. */
const WINDOW = '1m';
const DURATIONS = { __rate_interval: '10s', __range: '30s' };
/** Timeout until all peers have names, and nothing that was counted before is within the window. */
const SETTLED_MS = 300_000;
const TIMEOUT_MS = 400_000;

const IS_RECORDED = process.env['RECORD_MAP'] !== undefined;

/** Panels without data here, by the beginning of their titles. */
const NOT_HERE: Readonly<Record<string, string>> = {
  'Limited by the receiver': 'every receiver reads in time',
  'Limited by the send buffer': 'every send buffer is large enough',
};
const isHere = ({ name }: Query) => !Object.keys(NOT_HERE).some((start) => name.startsWith(start));

const SHOWN = [UIDS.map, UIDS.flows, UIDS.requests, UIDS.dns, UIDS.gateway];
const QUERIES = queriesOf('prometheus').filter(({ dashboard }) => SHOWN.some((uid) => uid === dashboard));

describe.skipIf(lacksApplications())('dashboards over the shop', () => {
  const folder = mkdtempSync(join(tmpdir(), 'shop-'));
  let cleanup: AsyncDisposableStack;
  let shop: Shop;
  let prometheus: PrometheusServer;

  beforeAll(async () => {
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    // Without `lifecycle`, the Pod of a Job is no longer shown once it has ended.
    const probes = {
      flow: { enabled: true, detail: 'full' },
      dns: true,
      http: true,
      lifecycle: true,
      tcpconnect: true,
      tcpsummary: true,
    };
    shop = stack.use(await Shop.start(folder, { config: only(probes, { external: EXTERNAL, sinks: {} }) }));
    const ruleFile = join(folder, 'rules.yaml');
    writeFileSync(ruleFile, readFileSync(RULES, 'utf8').replaceAll('[5m]', `[${WINDOW}]`));
    prometheus = stack.use(
      await PrometheusServer.start({
        targets: shop.agents.map(({ node, url }) => ({ address: new URL(url).host, labels: { node } })),
        ruleFile,
      }),
    );
    cleanup = stack.move();
  });
  afterAll(() => cleanup?.disposeAsync());

  /** Returns the rows of both frames of the node graph, with the answers from which they come. */
  async function readGraph() {
    const answers = await askGraph(prometheus);
    const { edges, nodes } = graphFrames(await transformed(NODE_GRAPH.transformations ?? [], answers));
    expect([edges.length, nodes.length]).toEqual([1, 1]);
    return { answers, edges: edges.flatMap(rowsOf), nodes: nodes.flatMap(rowsOf) };
  }

  it('has each edge of the shop exactly once, and no other', { timeout: TIMEOUT_MS }, async () => {
    await eventually(async () => {
      const { edges, nodes } = await readGraph();
      expect(edges.map(({ id }) => id).sort()).toEqual(edgesOfGraph().sort());
      const ends = new Set(EDGES.flatMap((edge) => edge.replace(/:\d+$/, '').split(' > ')).map(nodeOfGraph));
      expect(nodes.map(({ id }) => id).sort()).toEqual([...ends].sort());
    }, SETTLED_MS);
  });

  it('shows the trouble of an edge', { timeout: TIMEOUT_MS }, async () => {
    await shop.fault('refused', true);
    await shop.fault('lossy', true);
    const [refused] = edgesOfGraph(['shop/checkout > shop/orders:80']);
    const answers = await eventually(async () => {
      const { answers, edges } = await readGraph();
      const ids = edges.map(({ id }) => id).sort();
      // Workloads that nobody calls any more lose their edges.
      if (IS_RECORDED) expect(ids).toEqual(edgesOfGraph().sort());
      else expect(edgesOfGraph()).toEqual(expect.arrayContaining(ids));
      const bad = edges.filter(({ strokedasharray }) => strokedasharray === '10 4').map(({ id }) => id);
      expect(bad).toContain(refused);
      return answers;
    }, SETTLED_MS);
    if (IS_RECORDED) writeFileSync(MAP_ANSWERS, `${JSON.stringify(answers, undefined, 1)}\n`);
  });

  it('has data in every panel', { timeout: TIMEOUT_MS }, async () => {
    for (const fault of ['full-accept-queue', 'failing-method', 'missing-name', 'slow-query'] as const)
      await shop.fault(fault, true);
    for (const query of QUERIES.filter(isHere)) {
      await eventually(async () => {
        const found = await prometheus.query(interpolate(query.expr, DURATIONS));
        expect(found, `${query.dashboard}: ${query.name}`).not.toEqual([]);
      }, SETTLED_MS);
    }
  });
});

it('lists missing data by existing titles', () => {
  for (const start of Object.keys(NOT_HERE))
    expect(QUERIES.filter(({ name }) => name.startsWith(start))).not.toEqual([]);
});
