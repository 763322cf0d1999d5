import { beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { NO_LABELS } from '#probe/metric.ts';
import { BOUND, HeldPage, METRICS, pod } from '../../test/support/held_page.ts';
import { Births, HOLD_MAX_MS } from './births.ts';

const A = asNetnsId(1);

let held: HeldPage;

beforeEach(() => {
  held = new HeldPage();
});

async function values(name: string, holdMs?: number): Promise<Record<string, number>> {
  const { samples } = await held.render(holdMs);
  return Object.fromEntries(
    samples
      .filter((sample) => sample.name === name)
      .map(({ labels, value }) => [labels['reason'] ?? labels['device'] ?? labels['pod'] ?? '', Number(value)]),
  );
}

function put(metric: string, value: number, labels: Readonly<Record<string, string>>): void {
  held.collect((emit) => emit(metric, A, value, labels));
}

describe('a row of our own counts', () => {
  beforeEach(() => held.aggregator.entities.set([pod(1)]));

  it('is at 0 for scrapers until the hold is over, and for no other caller', async () => {
    put('drops', 7, { reason: 'r' });
    held.nowMs = 999;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
    expect(await values('netsonde_drops_total')).toEqual({ r: 7 });
    held.nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it('does not step back for any caller when the hold grows, nor when an earlier request is answered later', async () => {
    put('drops', 7, { reason: 'r' });
    held.nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    expect(await values('netsonde_drops_total', HOLD_MAX_MS)).toEqual({ r: 7 });
    held.nowMs = 900;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('has its value as soon as all scrapers have seen it at 0', async () => {
    held.nowMs = 1_000;
    put('drops', 7, { reason: 'r' });
    const shown = async (seenMs: number) => (await held.render(60_000, seenMs)).samples.map(({ value }) => value);
    expect(await shown(1_000)).toEqual(['0']);
    held.nowMs = 1_001;
    expect(await shown(1_000)).toEqual(['0']);
    expect(await shown(1_001)).toEqual(['7']);
    expect(await shown(1_000)).toEqual(['7']);
  });

  it('that no page has shown is not born', async () => {
    held.collect((emit) => emit('drops', A, 7, { reason: 'r' }), false);
    held.nowMs = 5_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('continues from its value when it comes back, even after a long time', async () => {
    put('drops', 7, { reason: 'r' });
    held.nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    for (let cycle = 0; cycle < 100; cycle++) held.collect(() => undefined);
    held.nowMs = 500_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it('is born again when it is reset while it is away', async () => {
    put('drops', 7, { reason: 'r' });
    held.collect(() => undefined);
    held.nowMs = 500_000;
    put('drops', 3, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
  });

  it('continues after the probe was off', async () => {
    put('drops', 7, { reason: 'r' });
    held.nowMs = 1_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    held.aggregator.removeProbe('test');
    held.nowMs = 500_000;
    held.aggregator.addProbe('test', METRICS, 'core', true);
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it.each(['drops', 'plain', 'delay', 'sent'])(
    'of %s is at 0 again after the probe was off, or its collection failed, before the value was seen',
    async (metric) => {
      const samples = async (seenMs?: number) =>
        (await held.render(1_000, seenMs)).samples.map(({ value }) => Number(value));
      const count = () =>
        held.collect((emit) => {
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
      held.aggregator.removeProbe('test');
      held.nowMs = 400;
      expect(await samples()).toEqual([]);
      held.aggregator.addProbe('test', METRICS, 'core', true);
      held.nowMs = 1_500;
      count();
      expect(zero(await samples(401))).toBe(true);
      held.collect(() => undefined, false);
      expect(await samples()).toEqual([]);
      held.nowMs = 2_300;
      count();
      held.nowMs = 3_299;
      expect(zero(await samples(1_501))).toBe(true);
      held.nowMs = 3_300;
      expect(zero(await samples())).toBe(false);
    },
  );

  it('has its value late, but not never, if the collection fails repeatedly', async () => {
    put('drops', 7, { reason: 'r' });
    for (; held.nowMs < 2 * HOLD_MAX_MS; held.nowMs += 1_000) {
      held.collect(() => undefined, false);
      put('drops', 7, { reason: 'r' });
    }
    expect(await values('netsonde_drops_total', 30_000)).toEqual({ r: 7 });
  });

  it('is at 0 again when it comes back, if its value was not seen before', async () => {
    put('drops', 7, { reason: 'r' });
    held.collect(() => undefined);
    held.nowMs = 5_000;
    put('drops', 7, { reason: 'r' });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
    held.nowMs = 6_000;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
  });

  it.each(['drops', 'plain'])('of %s continues where its Pod died while the probe was off', async (metric) => {
    const count = () => put(metric, 7, metric === 'plain' ? NO_LABELS : { reason: 'r' });
    const value = async () => (await held.render(1_000)).samples.map((sample) => Number(sample.value));
    count();
    held.nowMs = 1_000;
    expect(await value()).toEqual([7]);
    held.aggregator.removeProbe('test');
    held.nowMs = 5_000;
    held.aggregator.entities.set([{ ...pod(1), isRetired: true }]);
    held.aggregator.addProbe('test', METRICS, 'core', true);
    count();
    expect(await value()).toEqual([7]);
  });

  it('that was held when the probe was switched off is not removed before it was held again', async () => {
    put('drops', 7, { reason: 'r' });
    await held.render(1_000);
    held.aggregator.removeProbe('test');
    held.aggregator.addProbe('test', METRICS, 'core', true);
    held.nowMs = 1_900;
    put('drops', 7, { reason: 'r' });
    held.nowMs = 3_800;
    await held.render(1_000);
    expect(held.aggregator.isHeld(A)).toBe(true);
    held.nowMs = 3_901;
    expect(held.aggregator.isHeld(A)).toBe(false);
  });

  it('is not removed before it was held again, if its collection fails repeatedly, but not forever', async () => {
    const seen = async () => (await values('netsonde_drops_total', 30_000))['r'] === 7;
    let seenMs: number | undefined;
    for (; held.nowMs < 4 * HOLD_MAX_MS; held.nowMs += 15_000) {
      held.collect(() => undefined, false);
      put('drops', 7, { reason: 'r' });
      if (await seen()) seenMs ??= held.nowMs;
      if (seenMs === undefined) expect(held.aggregator.isHeld(A)).toBe(true);
    }
    expect(seenMs).toBeGreaterThan(60_000);
    expect(held.aggregator.isHeld(A)).toBe(false);
  });

  it('is at 0 again under another name, unless its value was seen', async () => {
    put('drops', 7, { reason: 'young' });
    held.nowMs = 2_000;
    held.collect((emit) => {
      emit('drops', A, 7, { reason: 'young' });
      emit('drops', A, 9, { reason: 'born' });
    });
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 0 });
    held.nowMs = 2_500;
    held.aggregator.entities.set([pod(1, 'web')]);
    held.nowMs = 3_200;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 0 });
    held.nowMs = 3_500;
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ young: 7, born: 9 });
  });

  it('has its value in time, even if others start and end often meanwhile', async () => {
    held.collect((emit) => {
      emit('drops', A, 7, { reason: 'r' });
      emit('plain', A, 7, NO_LABELS);
    });
    for (; held.nowMs < 1_000; held.nowMs += 100) {
      expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 0 });
      // Each scan of the machine replaces the set of known Pods.
      held.aggregator.entities.set(held.nowMs % 200 === 0 ? [pod(1), pod(2)] : [pod(1)]);
    }
    expect(await values('netsonde_drops_total', 1_000)).toEqual({ r: 7 });
    expect(await values('netsonde_plain_total', 1_000)).toEqual({ 'pod-1': 7 });
  });

  it('has its value late if it is renamed repeatedly, but not never', async () => {
    for (const isSeen = async () => (await values('netsonde_drops_total', 1_000))['r'] === 7; !(await isSeen()); ) {
      held.nowMs += 500;
      held.aggregator.entities.set([pod(1, `name-${held.nowMs}`)]);
      put('drops', 7, { reason: 'r' });
      expect(held.nowMs).toBeLessThan(2 * HOLD_MAX_MS);
    }
    expect(held.nowMs).toBeGreaterThanOrEqual(HOLD_MAX_MS);
  });

  it('that is a gauge always has its value', async () => {
    put('open', 7, { reason: 'r' });
    expect(await values('netsonde_open', 1_000)).toEqual({ r: 7 });
  });

  it('is not removed before scrapers have seen it', async () => {
    put('drops', 7, { reason: 'r' });
    expect(held.aggregator.isHeld(A)).toBe(false);
    await held.render(1_000);
    expect(held.aggregator.isHeld(A)).toBe(true);
    held.nowMs = 2_001;
    expect(held.aggregator.isHeld(A)).toBe(false);
  });

  it.each(['drops', 'plain', 'kinds', 'delay'])('of %s is removed with its entity', async (metric) => {
    const labels = metric === 'plain' ? NO_LABELS : metric === 'kinds' ? { kind: 'a' } : { reason: 'r' };
    const value = metric === 'delay' ? { counts: [1, 2, 3], sum: 9 } : 7;
    const sum = async () => (await held.render(1_000)).samples.reduce((all, sample) => all + Number(sample.value), 0);
    held.collect((emit) => emit(metric, A, value, labels));
    expect(await sum()).toBe(0);
    held.aggregator.entities.set([]);
    held.aggregator.entities.set([pod(2)]);
    held.nowMs = 500;
    held.collect((emit) => emit(metric, asNetnsId(2), value, labels));
    held.nowMs = 1_200;
    expect(await sum()).toBe(0);
    held.nowMs = 1_500;
    expect(await sum()).toBeGreaterThan(0);
  });
});

describe("a row of the kernel's counts", () => {
  beforeEach(() => {
    held.restart(false);
    held.nowMs = 1_000;
  });

  const rows: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['plain', NO_LABELS],
    ['kinds', { kind: 'a' }],
    ['drops', { reason: 'r' }],
    ['moved', { device: 'eth0' }],
  ];

  async function atZero(): Promise<string[]> {
    held.collect((emit) => {
      for (const [metric, labels] of rows) emit(metric, A, 7, labels);
    });
    return (await held.render(1_000)).samples.filter(({ value }) => value === '0').map(({ name }) => name);
  }

  it('has a past if the namespace existed before', async () => {
    held.aggregator.entities.set([pod(1)]);
    expect(await atZero()).toEqual([]);
  });

  it('counts from zero if the start of the namespace was seen, unless it may come from elsewhere', async () => {
    held.isNew = true;
    held.aggregator.entities.set([pod(1)]);
    expect(await atZero()).toEqual(['netsonde_plain_total', 'netsonde_drops_total', 'netsonde_kinds_total']);
  });

  it('has a past if the probe was switched on later', async () => {
    held.isNew = true;
    held.aggregator.entities.set([pod(1)]);
    held.nowMs = 2_000;
    held.aggregator.addProbe('test', METRICS, 'core');
    expect(await atZero()).toEqual([]);
  });

  it('counts from zero if others of the namespace existed before, and its label is open', async () => {
    held.aggregator.entities.set([pod(1)]);
    held.nowMs = 2_000;
    held.collect(() => undefined);
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
