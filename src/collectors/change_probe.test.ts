import { beforeEach, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { FieldChoice } from '#probe/fields.ts';
import { defineMetrics, type JointBound, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { parseExposition } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import type { SampleLabels } from './sample.ts';
import { TextWriter } from './text_writer.ts';

const base = { type: 'counter', help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const BOUND: JointBound = { max: { core: 4, full: 4 }, rank: ['edge'] };
const cause = { help: 'Cause.', example: 'a', max: 8 } as const;
const peer = { help: 'Peer.', example: 'a', joint: BOUND } as const;

const metrics = defineMetrics({
  core: { ...base, name: 'netsonde_core_total', labels: { cause } },
  full: { ...base, name: 'netsonde_full_total', labels: { cause }, detail: 'full' },
  plain: { ...base, name: 'netsonde_plain_total', labels: {}, detail: 'full' },
  edge: { ...base, name: 'netsonde_edge_total', labels: { peer } },
  wide: { ...base, name: 'netsonde_wide_total', labels: { peer }, detail: 'full' },
});

const A = asNetnsId(1);
const POD: Entity = { kind: 'pod', netns: A, inum: 1, namespace: 'x', pod: 'a', uid: 'u', labels: {} };

let aggregator: Aggregator;
let nowMs: number;

beforeEach(() => {
  nowMs = 0;
  aggregator = new Aggregator(
    ['test'],
    () => false,
    () => nowMs,
  );
  aggregator.addProbe('test', metrics, 'core', true);
  aggregator.entities.set([POD]);
});

/** Starts a collection in which each metric has a row with this value for each cause or peer. */
function begin(value: number, names: readonly string[]) {
  const batch = aggregator.begin('test');
  const emit = batch.emit as LooseEmit;
  for (const name of names) {
    for (const metric of ['core', 'full']) emit(metric, A, value, { cause: name });
  }
  emit('plain', A, value, NO_LABELS);
  emit.rows(BOUND, names, {
    subject: () => A,
    key: (name: string) => name,
    labels: (name: string) => ({ peer: name }),
    samples: (_name: string, put: (metric: string, value: number, labels: SampleLabels) => void) => {
      for (const metric of ['edge', 'wide']) put(metric, value, NO_LABELS);
    },
  });
  return batch;
}

/** Returns the page of a scraper that has seen no page since the last collection. */
async function page(): Promise<Record<string, number>> {
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle(), { askedMs: nowMs, holdMs: 60_000, seenMs: nowMs });
  const { samples } = parseExposition(Buffer.concat(writer.finish()).toString());
  const keyOf = ({ name, labels }: (typeof samples)[number]) =>
    [name.slice('netsonde_'.length, -'_total'.length), labels['cause'] ?? labels['peer']].filter(Boolean).join(' ');
  return Object.fromEntries(
    samples.filter(({ labels }) => labels['peer'] !== '*').map((sample) => [keyOf(sample), Number(sample.value)]),
  );
}

function collect(value: number, names: readonly string[]): void {
  nowMs += 1_000;
  begin(value, names).commit();
}

describe('a change of the detail', () => {
  it('does not interrupt what remains, and hides the rest at once', async () => {
    aggregator.changeProbe('test', metrics, 'full');
    collect(3, ['a']);
    collect(5, ['a']);
    nowMs += 1;
    const before = await page();
    expect(before).toEqual({ 'core a': 5, 'full a': 5, plain: 5, 'edge a': 5, 'wide a': 5 });
    aggregator.changeProbe('test', metrics, 'core');
    expect(await page()).toEqual({ 'core a': 5, 'edge a': 5 });
  });

  it('shows no metric again that a collection had read before', async () => {
    aggregator.changeProbe('test', metrics, 'full');
    collect(3, ['a']);
    const batch = begin(5, ['a']);
    aggregator.changeProbe('test', metrics, 'core');
    batch.commit();
    nowMs += 1;
    expect(await page()).toEqual({ 'core a': 5, 'edge a': 5 });
  });

  it('shows counts from before as they are, but new rows at 0 first', async () => {
    collect(1_000, ['a']);
    aggregator.changeProbe('test', metrics, 'full');
    collect(1_001, ['a', 'b']);
    expect(await page()).toEqual({
      ...{ 'core a': 1_001, 'edge a': 1_001, 'core b': 0, 'edge b': 0 },
      ...{ 'full a': 1_001, 'full b': 1_001, 'wide a': 1_001, 'wide b': 1_001, plain: 1_001 },
    });
    collect(1_002, ['a', 'b', 'c']);
    expect(await page()).toMatchObject({ 'full a': 1_002, 'wide a': 1_002, 'full c': 0, 'wide c': 0 });
  });
});

it('other `fields` do not interrupt a metric, and show further rows as they are', async () => {
  const choice = (entry: string) => new FieldChoice(metrics, [entry]);
  aggregator.changeProbe('test', metrics, 'core', choice('netsonde_core_total{cause="a"}'));
  collect(3, ['a', 'b']);
  collect(4, ['a', 'b']);
  nowMs += 1;
  aggregator.changeProbe('test', metrics, 'core', choice('netsonde_core_total'));
  expect(await page()).toEqual({ 'core a': 4 });
  collect(5, ['a', 'b']);
  expect(await page()).toEqual({ 'core a': 5, 'core b': 5 });
});
