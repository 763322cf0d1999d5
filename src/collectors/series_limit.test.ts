import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, type LooseRowReader, NO_LABELS } from '#probe/metric.ts';
import { parseExposition } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const BOUND = { max: { core: 8, full: 16 }, rank: ['bytes'] } as const;
const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const peer = { help: 'Peer.', example: 'web', joint: BOUND } as const;
const open = (max: number) => ({ help: 'Open.', example: 'x', max }) as const;

/** Metrics of a probe that has edges, labels with a fixed set of values, and labels with arbitrary values. */
const metrics = defineMetrics({
  plain: { ...base, type: 'counter', name: 'netsonde_plain_total', labels: {} },
  bytes: { ...base, type: 'counter', name: 'netsonde_edge_bytes_total', labels: { peer } },
  seconds: { ...base, type: 'histogram', name: 'netsonde_edge_seconds', labels: { peer }, buckets: [1, 2] },
  failed: {
    ...base,
    type: 'counter',
    detail: 'full',
    name: 'netsonde_edge_failed_total',
    labels: { peer, cause: { help: 'Cause.', values: ['refused', 'timeout'] } },
  },
  device: { ...base, type: 'counter', name: 'netsonde_device_total', labels: { device: open(8) } },
  pair: { ...base, type: 'counter', name: 'netsonde_pair_total', labels: { a: open(4), b: open(4) } },
});

interface Flow {
  readonly pod: number;
  readonly peer: string;
  readonly bytes: number;
}

const READER: LooseRowReader<Flow> = {
  subject: ({ pod }) => asNetnsId(pod),
  key: ({ peer: key }) => key,
  labels: ({ peer: name }) => ({ peer: name }),
  samples: ({ bytes }, put) => {
    put('bytes', bytes, NO_LABELS);
    put('seconds', { counts: [bytes, 0, 1], sum: 3 }, NO_LABELS);
    put('failed', bytes, { cause: 'refused' });
  },
};

const PODS = [1, 2];
const EVERY_MS = 15_000;
/** Timeout of property tests on a busy machine. */
const TIMEOUT_MS = 60_000;
const EDGES = 8;
const DEVICES = 6;
const PAIRS = 3;

function entities(ids: readonly number[]): Entity[] {
  return ids.map((id) => ({
    kind: 'pod',
    netns: asNetnsId(id),
    inum: id,
    namespace: 'x',
    pod: `p${id}`,
    uid: '',
    labels: {},
  }));
}

async function edgesShown(): Promise<number> {
  const shown = await page();
  return shown.filter(({ name, labels }) => name === 'netsonde_edge_bytes_total' && /^e/.test(labels['peer'] ?? ''))
    .length;
}

let aggregator: Aggregator;
let nowMs: number;
beforeEach(() => {
  nowMs = 0;
  aggregator = new Aggregator(
    ['test'],
    () => false,
    () => nowMs,
  );
  aggregator.addProbe('test', metrics, 'core');
  aggregator.entities.set(entities(PODS));
});

/** Runs a collection in which each counter has been increased `round` times. */
function collect(round: number, devices = DEVICES, rows?: readonly Flow[]): void {
  const batch = aggregator.begin('test');
  const emit = batch.emit as LooseEmit;
  for (const pod of PODS) emit('plain', asNetnsId(pod), round, NO_LABELS);
  for (const pod of PODS) {
    for (let index = 0; index < devices; index++)
      emit('device', asNetnsId(pod), round * (index + 1), { device: `d${index}` });
    for (let a = 0; a < PAIRS; a++) {
      for (let b = 0; b < PAIRS; b++) emit('pair', asNetnsId(pod), round, { a: `a${a}`, b: `b${b}` });
    }
  }
  const all = PODS.flatMap((pod) =>
    Array.from({ length: EDGES }, (_, index) => ({ pod, peer: `e${index}`, bytes: round * (index + 1) })),
  );
  emit.rows(BOUND, rows ?? all, READER);
  batch.commit();
  aggregator.fit();
}

async function page() {
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle());
  return parseExposition(Buffer.concat(writer.finish()).toString()).samples;
}

async function sums(): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const { name, value } of await page()) found[name] = (found[name] ?? 0) + Number(value);
  return found;
}

function totals(round: number, devices = DEVICES) {
  const triangle = (count: number) => (count * (count + 1)) / 2;
  return {
    netsonde_plain_total: PODS.length * round,
    netsonde_edge_bytes_total: PODS.length * round * triangle(EDGES),
    netsonde_device_total: PODS.length * round * triangle(devices),
    netsonde_pair_total: PODS.length * round * PAIRS * PAIRS,
  };
}

describe('a probe that declares a joint bound', () => {
  it('has its edges on the page, the same in all of its metrics, the rest under *', async () => {
    const rows = Array.from({ length: 10 }, (_, index) => ({ pod: 1, peer: `e${index}`, bytes: index + 1 }));
    collect(1, 0, rows);
    const edges = (await page()).filter(({ name }) => name.startsWith('netsonde_edge_'));
    expect(edges.filter(({ name }) => name === 'netsonde_edge_bytes_total')).toContainEqual({
      name: 'netsonde_edge_bytes_total',
      labels: { namespace: 'x', pod: 'p1', peer: 'e9' },
      value: '10',
    });
    const peersOf = (metric: string) => edges.filter(({ name }) => name === metric).map(({ labels }) => labels['peer']);
    expect(peersOf('netsonde_edge_bytes_total').sort()).toEqual(['*', ...rows.slice(2).map((row) => row.peer)].sort());
    expect(peersOf('netsonde_edge_seconds_count').sort()).toEqual(peersOf('netsonde_edge_bytes_total').sort());
    const star = (metric: string) => edges.find(({ name, labels }) => name === metric && labels['peer'] === '*')?.value;
    expect(star('netsonde_edge_bytes_total')).toBe('3');
    expect(star('netsonde_edge_seconds_sum')).toBe('6');
    expect(peersOf('netsonde_edge_failed_total')).toEqual([]);
    expect(aggregator.overflows.get('netsonde_edge_bytes_total\0peer')).toBe(2);
  });

  it('shows more of them, and more of its metrics, at the detail full', async () => {
    aggregator.addProbe('test', metrics, 'full');
    const rows = Array.from({ length: 10 }, (_, index) => ({ pod: 1, peer: `e${index}`, bytes: index + 1 }));
    collect(1, 0, rows);
    const failed = (await page()).filter(({ name }) => name === 'netsonde_edge_failed_total');
    expect(failed).toHaveLength(10);
    expect(failed[0]?.labels).toMatchObject({ cause: 'refused' });
  });

  it('shows nothing from a failed collection, and continues to count after it, and after it was off', async () => {
    collect(1);
    const batch = aggregator.begin('test');
    (batch.emit as LooseEmit).rows(BOUND, [{ pod: 1, peer: 'e0', bytes: 99 }], READER);
    batch.discard();
    expect((await page()).length).toBe(0);
    aggregator.removeProbe('test');
    aggregator.addProbe('test', metrics, 'core');
    collect(3);
    expect(await sums()).toMatchObject(totals(3));
  });

  it('counts rows of unknown namespaces, and refuses samples that are not rows', () => {
    collect(1, 0, [{ pod: 7, peer: 'e0', bytes: 1 }]);
    expect(aggregator.unattributed.get('test')).toBe(1);
    const emit = aggregator.begin('test').emit as LooseEmit;
    expect(() => emit('bytes', asNetnsId(1), 1, { peer: 'x' })).toThrow('its samples must be added as rows');
    expect(() => emit.rows({ max: { core: 1, full: 1 }, rank: [] }, [], READER)).toThrow('no metric of test');
  });
});

describe('a page with a limit', () => {
  it('counts its series', async () => {
    collect(1);
    expect(aggregator.limit.series).toBe((await page()).length);
  });

  it(
    'folds edges first, then open labels, and nothing else; sums stay exact',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 8 }), async (max, devices) => {
          aggregator = new Aggregator(
            ['test'],
            () => false,
            () => nowMs,
          );
          aggregator.addProbe('test', metrics, 'core');
          aggregator.entities.set(entities(PODS));
          const before = new Map<string, number>();
          for (let round = 1; round < 6; round++) {
            if (round === 3) aggregator.limit.max = max;
            collect(round, devices);
            expect(await sums()).toMatchObject(totals(round, devices));
            const shown = await page();
            expect(aggregator.limit.series).toBe(shown.length);
            for (const { name, labels, value } of shown) {
              const key = `${name} ${JSON.stringify(labels)}`;
              expect(Number(value)).toBeGreaterThanOrEqual(before.get(key) ?? 0);
              before.set(key, Number(value));
            }
            const isFoldedWhole = !shown.some(({ labels }) => /^[da]\d/.test(labels['device'] ?? labels['a'] ?? ''));
            if (round >= 3 && shown.length > max) expect(isFoldedWhole).toBe(true);
            const { edges, labels } = aggregator.limit.folded;
            if (labels > 0) expect(shown.some((one) => one.labels['peer']?.startsWith('e'))).toBe(false);
            expect(edges + labels > 0).toBe(round >= 3 && max < full(devices));
          }
        }),
        { numRuns: 30 },
      );
    },
    TIMEOUT_MS,
  );

  it('reverts all folds at once for a higher limit', async () => {
    aggregator.limit.max = 60;
    collect(1);
    const folded = aggregator.limit.series;
    expect(folded).toBeLessThanOrEqual(60);
    const few = await edgesShown();
    aggregator.limit.max = 1_000;
    collect(2);
    collect(3);
    expect(await edgesShown()).toBe(PODS.length * EDGES);
    expect(few).toBe(0);
    expect(await sums()).toMatchObject(totals(3));
  });

  it('does not flap around the limit', async () => {
    aggregator.limit.max = full(DEVICES) - 1;
    const shown: number[] = [];
    for (let round = 1; round < 200; round++) {
      nowMs += EVERY_MS;
      collect(round, round % 2 === 0 ? DEVICES : DEVICES - 1);
      shown.push(await edgesShown());
    }
    expect(shown).toEqual([PODS.length * EDGES, ...new Array(198).fill(PODS.length * (EDGES / 2))]);
  });

  it('reverts a fold once there was room for twice its series for ten minutes', async () => {
    aggregator.limit.max = full(DEVICES) - 1;
    collect(1);
    expect(await edgesShown()).toBe(PODS.length * (EDGES / 2));
    aggregator.entities.set(entities([1]));
    const shown: number[] = [];
    for (let round = 2; round < 60; round++) {
      nowMs += EVERY_MS;
      collect(round);
      shown.push(await edgesShown());
    }
    const at = shown.indexOf(EDGES);
    // The edges are unfolded in the first collection after ten minutes below the limit.
    expect(at).toBe(600_000 / EVERY_MS + 1);
    expect(shown.slice(0, at)).toEqual(new Array(at).fill(EDGES / 2));
  });
});

/** Returns the number of series that the page would have if nothing were folded. */
function full(devices: number): number {
  const ofEdge = 1 + 5;
  return PODS.length * (1 + EDGES * ofEdge + devices + PAIRS * PAIRS);
}
