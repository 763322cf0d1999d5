import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, expect, it } from 'vitest';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { RunningProbe } from '#probe/contract.ts';
import { defineMetrics, type LooseEmit, type MetricSet, NO_LABELS } from '#probe/metric.ts';
import { Aggregator } from './aggregate.ts';
import { Scrape } from './scrape.ts';
import type { ActiveProbe } from './supervisor.ts';
import { TextWriter } from './text_writer.ts';

const metricsOf = (probe: string) =>
  defineMetrics({
    x: {
      name: `netsonde_${probe}_total`,
      type: 'counter',
      help: 'x.',
      source: '',
      scope: 'pod',
      detail: 'core',
      labels: {},
    },
  });

const NAMES = ['first', 'second', 'third'];
const ID = asNetnsId(1);

let aggregator: Aggregator;
let outcomes: Map<string, Error | undefined>;

beforeEach(() => {
  aggregator = new Aggregator(NAMES, () => false);
  for (const name of NAMES) aggregator.addProbe(name, metricsOf(name), 'core');
  aggregator.entities.set([{ kind: 'pod', netns: ID, inum: 1, namespace: 'x', pod: 'a', uid: '', labels: {} }]);
  outcomes = new Map();
});

type Collect = (emit: LooseEmit, cycle: Cycle) => Promise<void> | void;

function active(name: string, collect: Collect): ActiveProbe {
  const probe = { health: () => ({ reader: '', degraded: [] }), collect } as unknown as RunningProbe<MetricSet>;
  return { name, probe, metrics: true, collected: (_, error) => void outcomes.set(name, error) };
}

const good: Collect = (emit) => emit('x', ID, 1, NO_LABELS);

async function shown(): Promise<string[]> {
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle());
  const text = Buffer.concat(writer.finish()).toString();
  return [...text.matchAll(/^netsonde_(\w+)_total\{/gm)].map((found) => found[1] ?? '');
}

it.each<[string, Collect]>([
  [
    'throws',
    (emit) => {
      emit('x', ID, 1, NO_LABELS);
      throw new Error('broken');
    },
  ],
  ['rejects', () => Promise.reject(new Error('broken'))],
  ['rejects with something that is not an error', () => Promise.reject('broken')],
])('a probe that %s is left out of the page, whole; the rest is served', async (_, collect) => {
  const probes = [active('first', good), active('second', collect), active('third', good)];
  await new Scrape(aggregator).run(probes);
  expect(await shown()).toEqual(['first', 'third']);
  expect(outcomes.get('second')?.message).toBe('broken');
  expect(outcomes.get('third')).toBeUndefined();
});

it('a collection that never settles is abandoned, and not started again before it does', async () => {
  let calls = 0;
  let release: () => void = () => undefined;
  const stuck: Collect = () => {
    calls++;
    return new Promise<void>((resolve) => {
      release = resolve;
    });
  };
  const scrape = new Scrape(aggregator, { probeMs: 30, cycleMs: 60_000 });
  const probes = [active('first', stuck), active('second', good)];
  await scrape.run(probes);
  expect(outcomes.get('first')?.message).toMatch(/took longer than 30 ms/);
  expect(await shown()).toEqual(['second']);
  await scrape.run(probes);
  expect(outcomes.get('first')?.message).toMatch(/is still running/);
  expect(calls).toBe(1);
  release();
  await wait(1);
  probes[0] = active('first', good);
  await scrape.run(probes);
  expect(await shown()).toEqual(['first', 'second']);
});

it('samples that a probe emits after its time is up are not shown, then or later', async () => {
  const late: Collect = async (emit) => {
    await wait(60);
    emit('x', ID, 7, NO_LABELS);
  };
  const scrape = new Scrape(aggregator, { probeMs: 20, cycleMs: 1_000 });
  await scrape.run([active('first', late)]);
  await wait(80);
  expect(await shown()).toEqual([]);
});

it('work that continues after the cycle stops at its next pause', async () => {
  let reached = 'start';
  const slow: Collect = async (_emit, cycle) => {
    await wait(30);
    const busyUntil = performance.now() + 10;
    while (performance.now() < busyUntil);
    await cycle.pause();
    reached = 'end';
  };
  await new Scrape(aggregator, { probeMs: 10, cycleMs: 1_000 }).run([active('first', slow)]);
  await wait(100);
  expect(reached).toBe('start');
});

it('collects no probe whose metrics are not wanted', async () => {
  let calls = 0;
  const probe = { ...active('first', () => void calls++), metrics: false };
  expect(await new Scrape(aggregator).run([probe])).toEqual([]);
  expect(calls).toBe(0);
});
