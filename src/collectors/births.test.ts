import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { type Exposition, parseExposition } from '../../test/support/exposition.ts';
import { CountingScraper } from '../../test/support/scraper.ts';
import { Aggregator } from './aggregate.ts';
import { Births, HOLD_MAX_MS, type ScraperView } from './births.ts';
import { TextWriter } from './text_writer.ts';

const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const REASON = { help: 'Reason.', example: 'NO_SOCKET', max: 2 } as const;
const BOUND = { max: { core: 2, full: 2 }, rank: ['sent'] } as const;
const PEER = { help: 'Peer.', example: '10.0.0.1', joint: BOUND } as const;

const metrics = defineMetrics({
  plain: { ...base, type: 'counter', name: 'netsonde_plain_total', labels: {} },
  drops: { ...base, type: 'counter', name: 'netsonde_drops_total', labels: { reason: REASON } },
  kinds: {
    ...base,
    type: 'counter',
    name: 'netsonde_kinds_total',
    labels: { kind: { help: 'K.', values: ['a', 'b'] } },
  },
  moved: {
    ...base,
    type: 'counter',
    name: 'netsonde_moved_total',
    labels: { device: { help: 'D.', example: 'eth0', max: 4, moves: true } },
  },
  open: { ...base, type: 'gauge', name: 'netsonde_open', labels: { reason: REASON } },
  delay: { ...base, type: 'histogram', name: 'netsonde_delay', labels: { reason: REASON }, buckets: [1, 2] },
  sent: { ...base, type: 'counter', name: 'netsonde_sent_total', labels: { peer: PEER } },
});

let nowMs: number;
let isNew: boolean;
let aggregator: Aggregator;

function pod(id: number, name = `pod-${id}`): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'x', pod: name, uid: `uid-${id}`, labels: {} };
}

function restart(isOwn: boolean): void {
  aggregator = new Aggregator(
    ['test'],
    () => true,
    () => nowMs,
    () => isNew,
  );
  aggregator.addProbe('test', metrics, 'core', isOwn);
}

beforeEach(() => {
  nowMs = 0;
  isNew = false;
  restart(true);
});

function collect(emit: (emit: LooseEmit) => void, commit = true): void {
  const batch = aggregator.begin('test');
  emit(batch.emit as LooseEmit);
  if (commit) batch.commit();
  else batch.discard();
}

/**
 * Renders a page.
 * @param holdMs undefined for a client that is not a scraper
 */
async function page(holdMs?: number, seenMs?: number): Promise<Exposition> {
  const writer = new TextWriter();
  const view: ScraperView | undefined = holdMs === undefined ? undefined : { askedMs: nowMs, holdMs, seenMs };
  await aggregator.render(writer, 'text', freeCycle(), view);
  return parseExposition(Buffer.concat(writer.finish()).toString());
}

async function values(name: string, holdMs?: number): Promise<Record<string, number>> {
  const { samples } = await page(holdMs);
  return Object.fromEntries(
    samples
      .filter((sample) => sample.name === name)
      .map(({ labels, value }) => [labels['reason'] ?? labels['device'] ?? labels['pod'] ?? '', Number(value)]),
  );
}

const A = asNetnsId(1);

/** A model of the Pods' counters. */
class Counted {
  readonly totals = new Map<string, number>();

  add(pod: number, label: string, more: number): void {
    const key = `${pod} ${label}`;
    this.totals.set(key, (this.totals.get(key) ?? 0) + more);
  }

  emit(emit: LooseEmit): void {
    const rows = [...this.totals].map(([key, total]) => ({
      id: Number(key.split(' ')[0]),
      label: key.split(' ')[1] ?? '',
      total,
    }));
    for (const { id, label, total } of rows) {
      const reason = { reason: label };
      emit('drops', asNetnsId(id), total, reason);
      emit('delay', asNetnsId(id), { counts: [total, 0, total], sum: 1 }, reason);
    }
    emit.rows(BOUND, rows, {
      subject: ({ id }) => asNetnsId(id),
      key: ({ label }) => label,
      labels: ({ label }) => ({ peer: label }),
      samples: ({ total }, put) => put('sent', total, {}),
    });
  }

  get sum(): number {
    return [...this.totals.values()].reduce((sum, total) => sum + total, 0);
  }
}

interface Burst {
  readonly afterMs: number;
  readonly pod: number;
  readonly label: number;
  readonly more: number;
  readonly isFailed: boolean;
}

interface Run {
  readonly intervals: readonly [number, number];
  readonly phases: readonly [number, number];
  readonly curlEveryMs: number;
  readonly bursts: readonly Burst[];
}

const RUN = fc.record<Run>({
  intervals: fc.constantFrom<Run['intervals']>([1_000, 1_000], [15_000, 15_000], [15_000, 30_000], [30_000, 30_000]),
  phases: fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 0, max: 30_000 })),
  curlEveryMs: fc.integer({ min: 500, max: 40_000 }),
  bursts: fc.array(
    fc.record({
      afterMs: fc.integer({ min: 0, max: 20_000 }),
      pod: fc.integer({ min: 1, max: 3 }),
      label: fc.integer({ min: 0, max: 4 }),
      more: fc.integer({ min: 1, max: 1_000 }),
      isFailed: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});

/**
 * Simulates two Prometheus servers and a user with curl from the first burst until every value is shown, and returns
 * their pages.
 * @param isTold whether the agent knows which page each client saw last
 */
async function run(
  { intervals, phases, curlEveryMs, bursts }: Run,
  view: (hold: number) => number | undefined,
  isTold = false,
) {
  const seenMs: (number | undefined)[] = [undefined, undefined];
  const oldest = () => {
    const [first, second] = seenMs;
    return isTold && first !== undefined && second !== undefined ? Math.min(first, second) : undefined;
  };
  nowMs = 0;
  restart(true);
  aggregator.entities.set([pod(1), pod(2), pod(3)]);
  const holdMs = 1.25 * Math.max(...intervals) + 1_000;
  const servers = [new CountingScraper(), new CountingScraper()] as const;
  const curl = new CountingScraper();
  const counted = new Counted();
  const dueMs = intervals.map((interval, nth) => (phases[nth] ?? 0) % interval);
  let curlMs = curlEveryMs;
  const until = async (endMs: number) => {
    for (;;) {
      const next = Math.min(...dueMs, curlMs);
      if (next > endMs) break;
      nowMs = next;
      collect((emit) => counted.emit(emit));
      for (const [nth, interval] of intervals.entries()) {
        if (dueMs[nth] !== next) continue;
        const shown = await page(view(holdMs), oldest());
        servers[nth]?.scrape(shown);
        // A page is rendered shortly after its collection is committed.
        seenMs[nth] = nowMs + 0.5;
        dueMs[nth] = next + interval;
      }
      if (curlMs !== next) continue;
      const plain = await page();
      curl.scrape(plain);
      curlMs += curlEveryMs;
      const shown = plain.samples.filter(({ name }) => name === 'netsonde_drops_total');
      expect(shown.reduce((sum, { value }) => sum + Number(value), 0)).toBe(counted.sum);
    }
    nowMs = endMs;
  };
  for (const { afterMs, pod: id, label, more, isFailed } of bursts) {
    await until(nowMs + afterMs);
    counted.add(id, `r${label}`, more);
    if (isFailed) collect((emit) => counted.emit(emit), false);
  }
  await until(nowMs + 2 * holdMs + 2 * Math.max(...intervals));
  return { servers, curl, counted };
}

describe('the increases that scrapers see', () => {
  it('equal the counts, for both, at any intervals and phases, even if others look in between', async () => {
    await fc.assert(
      fc.asyncProperty(RUN, async (given) => {
        const { servers, curl, counted } = await run(given, (holdMs) => holdMs);
        for (const server of servers) {
          expect(server.counted('netsonde_drops_total')).toBe(counted.sum);
          expect(server.counted('netsonde_sent_total')).toBe(counted.sum);
          expect(server.counted('netsonde_delay_count')).toBe(2 * counted.sum);
        }
        for (const { resets } of [...servers, curl]) expect(resets).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  it('equal the counts if a row gives its place away while it grows', async () => {
    const given: Run = {
      intervals: [15_000, 30_000],
      phases: [1_000, 22_000],
      curlEveryMs: 7_000,
      bursts: Array.from({ length: 120 }, (_, nth) => {
        const label = nth < 20 ? nth % 2 : nth % 3;
        return { afterMs: 5_000, pod: 1, label, more: label === 2 ? 500 : 10 + label, isFailed: false };
      }),
    };
    const { servers, counted } = await run(given, (holdMs) => holdMs);
    for (const server of servers) expect(server.counted('netsonde_sent_total')).toBe(counted.sum);
    expect(servers.map(({ seen }) => [...seen].filter((series) => series.includes('*moved-')).length > 0)).toEqual([
      true,
      true,
    ]);
  });

  it('miss every first value if a row is shown as it is', async () => {
    const burst = { afterMs: 500, pod: 1, label: 0, more: 197, isFailed: false };
    const given: Run = { intervals: [1_000, 1_000], phases: [0, 300], curlEveryMs: 900, bursts: [burst] };
    const { servers } = await run(given, () => undefined);
    expect(servers.map((server) => server.counted('netsonde_drops_total'))).toEqual([0, 0]);
  });
});

function put(metric: string, value: number, labels: Readonly<Record<string, string>>): void {
  collect((emit) => emit(metric, A, value, labels));
}

describe('a row of our own counts', () => {
  beforeEach(() => aggregator.entities.set([pod(1)]));

  it('is at 0 for scrapers until the hold is over, and for no other caller', async () => {
    put('drops', 7, { reason: 'r' });
    nowMs = 999;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
    expect(await values('netsonde_drops_total')).toEqual({ r: 7 });
    nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it('does not step back for any caller when the hold grows, nor when an earlier request is answered later', async () => {
    put('drops', 7, { reason: 'r' });
    nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    expect(await values('netsonde_drops_total', HOLD_MAX_MS)).toEqual({ r: 7 });
    nowMs = 900;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('has its value as soon as all scrapers have seen it at 0', async () => {
    nowMs = 1_000;
    put('drops', 7, { reason: 'r' });
    const shown = async (seenMs: number) => (await page(60_000, seenMs)).samples.map(({ value }) => value);
    expect(await shown(1_000)).toEqual(['0']);
    nowMs = 1_001;
    expect(await shown(1_000)).toEqual(['0']);
    expect(await shown(1_001)).toEqual(['7']);
    expect(await shown(1_000)).toEqual(['7']);
  });

  it('that no page has shown is not born', async () => {
    collect((emit) => emit('drops', A, 7, { reason: 'r' }), false);
    nowMs = 5_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('continues from its value when it comes back, even after a long time', async () => {
    put('drops', 7, { reason: 'r' });
    nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    for (let cycle = 0; cycle < 100; cycle++) collect(() => undefined);
    nowMs = 500_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it('is born again when it is reset while it is away', async () => {
    put('drops', 7, { reason: 'r' });
    collect(() => undefined);
    nowMs = 500_000;
    put('drops', 3, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('continues after the probe was off', async () => {
    put('drops', 7, { reason: 'r' });
    nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    aggregator.removeProbe('test');
    nowMs = 500_000;
    aggregator.addProbe('test', metrics, 'core', true);
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it.each(['drops', 'plain', 'delay', 'sent'])(
    'of %s is at 0 again after the probe was off, or its collection failed, before the value was seen',
    async (metric) => {
      const samples = async (seenMs?: number) => (await page(1_000, seenMs)).samples.map(({ value }) => Number(value));
      const count = () =>
        collect((emit) => {
          if (metric === 'drops') emit('drops', A, 7, { reason: 'r' });
          if (metric === 'plain') emit('plain', A, 7, NO_LABELS);
          if (metric === 'delay') emit('delay', A, { counts: [1, 2, 3], sum: 9 }, { reason: 'r' });
          if (metric === 'sent')
            emit.rows(BOUND, [7], {
              subject: () => A,
              key: () => 'r',
              labels: () => ({ peer: 'r' }),
              samples: (total, put) => put('sent', total, {}),
            });
        });
      const zero = (values: readonly number[]) => values.length > 0 && values.every((value) => value === 0);
      count();
      expect(zero(await samples())).toBe(true);
      aggregator.removeProbe('test');
      nowMs = 400;
      expect(await samples()).toEqual([]);
      aggregator.addProbe('test', metrics, 'core', true);
      nowMs = 1_500;
      count();
      expect(zero(await samples(401))).toBe(true);
      collect(() => undefined, false);
      expect(await samples()).toEqual([]);
      nowMs = 2_300;
      count();
      nowMs = 3_299;
      expect(zero(await samples(1_501))).toBe(true);
      nowMs = 3_300;
      expect(zero(await samples())).toBe(false);
    },
  );

  it('has its value late, but not never, if the collection fails repeatedly', async () => {
    put('drops', 7, { reason: 'r' });
    for (; nowMs < 2 * HOLD_MAX_MS; nowMs += 1_000) {
      collect(() => undefined, false);
      put('drops', 7, { reason: 'r' });
    }
    expect(await values('netsonde_drops_total', 30_000)).toEqual({ r: 7 });
  });

  it('is at 0 again when it comes back, if its value was not seen before', async () => {
    put('drops', 7, { reason: 'r' });
    collect(() => undefined);
    nowMs = 5_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
    nowMs = 6_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it.each(['drops', 'plain'])('of %s continues where its Pod died while the probe was off', async (metric) => {
    const count = () => put(metric, 7, metric === 'plain' ? NO_LABELS : { reason: 'r' });
    const value = async () => (await page(1_000)).samples.map((sample) => Number(sample.value));
    count();
    nowMs = 1_000;
    expect(await value()).toEqual([7]);
    aggregator.removeProbe('test');
    nowMs = 5_000;
    aggregator.entities.set([{ ...pod(1), isRetired: true }]);
    aggregator.addProbe('test', metrics, 'core', true);
    count();
    expect(await value()).toEqual([7]);
  });

  it('that was held when the probe was switched off is not removed before it was held again', async () => {
    put('drops', 7, { reason: 'r' });
    await page(1_000);
    aggregator.removeProbe('test');
    aggregator.addProbe('test', metrics, 'core', true);
    nowMs = 1_900;
    put('drops', 7, { reason: 'r' });
    nowMs = 3_800;
    await page(1_000);
    expect(aggregator.isHeld(A)).toBe(true);
    nowMs = 3_901;
    expect(aggregator.isHeld(A)).toBe(false);
  });

  it('is not removed before it was held again, if its collection fails repeatedly, but not forever', async () => {
    const seen = async () => (await values('netsonde_drops_total', 30_000))['r'] === 7;
    let seenMs: number | undefined;
    for (; nowMs < 4 * HOLD_MAX_MS; nowMs += 15_000) {
      collect(() => undefined, false);
      put('drops', 7, { reason: 'r' });
      if (await seen()) seenMs ??= nowMs;
      if (seenMs === undefined) expect(aggregator.isHeld(A)).toBe(true);
    }
    expect(seenMs).toBeGreaterThan(60_000);
    expect(aggregator.isHeld(A)).toBe(false);
  });

  it('is at 0 again under another name, unless its value was seen', async () => {
    put('drops', 7, { reason: 'young' });
    nowMs = 2_000;
    collect((emit) => {
      emit('drops', A, 7, { reason: 'young' });
      emit('drops', A, 9, { reason: 'born' });
    });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 0 });
    nowMs = 2_500;
    aggregator.entities.set([pod(1, 'web')]);
    nowMs = 3_200;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 0 });
    nowMs = 3_500;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 9 });
  });

  it('has its value in time, even if others start and end often meanwhile', async () => {
    collect((emit) => {
      emit('drops', A, 7, { reason: 'r' });
      emit('plain', A, 7, NO_LABELS);
    });
    for (; nowMs < 1_000; nowMs += 100) {
      expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
      // Each scan of the machine replaces the set of known Pods.
      aggregator.entities.set(nowMs % 200 === 0 ? [pod(1), pod(2)] : [pod(1)]);
    }
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    expect(await values('netsonde_plain_total', 1_000)).toEqual({ 'pod-1': 7 });
  });

  it('has its value late if it is renamed repeatedly, but not never', async () => {
    for (const isSeen = async () => (await values('netsonde_drops_total', 1_000))['r'] === 7; !(await isSeen()); ) {
      nowMs += 500;
      aggregator.entities.set([pod(1, `name-${nowMs}`)]);
      put('drops', 7, { reason: 'r' });
      expect(nowMs).toBeLessThan(2 * HOLD_MAX_MS);
    }
    expect(nowMs).toBeGreaterThanOrEqual(HOLD_MAX_MS);
  });

  it('that is a gauge always has its value', async () => {
    put('open', 7, { reason: 'r' });
    expect(await values('netsonde_open', 1_000)).toEqual({ r: 7 });
  });

  it('is not removed before scrapers have seen it', async () => {
    put('drops', 7, { reason: 'r' });
    expect(aggregator.isHeld(A)).toBe(false);
    await page(1_000);
    expect(aggregator.isHeld(A)).toBe(true);
    nowMs = 2_001;
    expect(aggregator.isHeld(A)).toBe(false);
  });

  it.each(['drops', 'plain', 'kinds', 'delay'])('of %s is removed with its entity', async (metric) => {
    const labels = metric === 'plain' ? NO_LABELS : metric === 'kinds' ? { kind: 'a' } : { reason: 'r' };
    const value = metric === 'delay' ? { counts: [1, 2, 3], sum: 9 } : 7;
    const sum = async () => (await page(1_000)).samples.reduce((all, sample) => all + Number(sample.value), 0);
    collect((emit) => emit(metric, A, value, labels));
    expect(await sum()).toBe(0);
    aggregator.entities.set([]);
    aggregator.entities.set([pod(2)]);
    nowMs = 500;
    collect((emit) => emit(metric, asNetnsId(2), value, labels));
    nowMs = 1_200;
    expect(await sum()).toBe(0);
    nowMs = 1_500;
    expect(await sum()).toBeGreaterThan(0);
  });
});

describe("a row of the kernel's counts", () => {
  beforeEach(() => {
    restart(false);
    nowMs = 1_000;
  });

  const rows: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['plain', NO_LABELS],
    ['kinds', { kind: 'a' }],
    ['drops', { reason: 'r' }],
    ['moved', { device: 'eth0' }],
  ];

  async function atZero(): Promise<string[]> {
    collect((emit) => {
      for (const [metric, labels] of rows) emit(metric, A, 7, labels);
    });
    return (await page(1_000)).samples.filter(({ value }) => value === '0').map(({ name }) => name);
  }

  it('has a past if the namespace existed before', async () => {
    aggregator.entities.set([pod(1)]);
    expect(await atZero()).toEqual([]);
  });

  it('counts from zero if the start of the namespace was seen, unless it may come from elsewhere', async () => {
    isNew = true;
    aggregator.entities.set([pod(1)]);
    expect(await atZero()).toEqual(['netsonde_plain_total', 'netsonde_drops_total', 'netsonde_kinds_total']);
  });

  it('has a past if the probe was switched on later', async () => {
    isNew = true;
    aggregator.entities.set([pod(1)]);
    nowMs = 2_000;
    aggregator.addProbe('test', metrics, 'core');
    expect(await atZero()).toEqual([]);
  });

  it('counts from zero if others of the namespace existed before, and its label is open', async () => {
    aggregator.entities.set([pod(1)]);
    nowMs = 2_000;
    collect(() => undefined);
    expect(await atZero()).toEqual(['netsonde_drops_total']);
  });
});

describe('births', () => {
  it('are forgotten once no caller sees them at 0', () => {
    const births = new Births<string>();
    births.add('old', 0);
    births.add('young', 10_000);
    births.commit(HOLD_MAX_MS);
    expect(births.size).toBe(2);
    births.commit(HOLD_MAX_MS + 20_000);
    expect(births.size).toBe(1);
  });
});
