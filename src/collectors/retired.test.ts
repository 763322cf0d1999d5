import { beforeEach, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { parseExposition } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const DEVICE = { help: 'Device.', example: 'eth0', max: 1 } as const;
const metrics = defineMetrics({
  plain: { ...base, type: 'counter', name: 'netsonde_plain_total', labels: {} },
  bytes: { ...base, type: 'counter', name: 'netsonde_bytes_total', labels: { device: DEVICE } },
  queue: { ...base, type: 'gauge', name: 'netsonde_queue', labels: { device: DEVICE } },
});

function entity(id: number, pod: string, isRetired = false, uid = `uid-${id}`): Entity {
  const common = { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'x', pod, uid, labels: {} } as const;
  return isRetired ? { ...common, isRetired } : common;
}

let aggregator: Aggregator;
beforeEach(() => {
  aggregator = new Aggregator(['test'], () => true);
  aggregator.addProbe('test', metrics, 'core');
});

type Samples = Readonly<Record<number, number | bigint>>;

/** Runs a collection with these counts for each namespace. */
function collect(plain: Samples, bytes: Readonly<Record<string, number>> = {}, commit = true): void {
  const batch = aggregator.begin('test');
  const emit = batch.emit as LooseEmit;
  for (const [id, value] of Object.entries(plain)) emit('plain', asNetnsId(Number(id)), value, NO_LABELS);
  for (const [device, value] of Object.entries(bytes)) {
    emit('bytes', asNetnsId(1), value, { device });
    emit('queue', asNetnsId(1), value, { device });
  }
  if (commit) batch.commit();
  else batch.discard();
}

async function page(): Promise<string[]> {
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle());
  const { samples } = parseExposition(Buffer.concat(writer.finish()).toString());
  return samples.map(({ name, labels, value }) => {
    const device = labels['device'] === undefined ? '' : ` ${labels['device']}`;
    return `${labels['pod']} ${name.replace('netsonde_', '')}${device} ${value}`;
  });
}

describe('an entity that has died', () => {
  beforeEach(() => {
    aggregator.entities.set([entity(1, 'a'), entity(2, 'b')]);
    collect({ 1: 2n ** 60n, 2: 7 }, { eth0: 1, eth1: 10, eth2: 20 });
    aggregator.entities.set([entity(2, 'b'), entity(1, 'a', true)]);
  });

  const LAST = [
    'a plain_total 1152921504606846976',
    'b plain_total 8',
    'a bytes_total eth0 1',
    'a bytes_total * 30',
    'a queue eth0 1',
    'a queue * 30',
  ];

  it('keeps its last values from collection to collection, and goes with the last of them', async () => {
    for (let collection = 0; collection < 40; collection++) collect({ 2: 8 });
    expect(await page()).toEqual(LAST);
    aggregator.entities.set([entity(2, 'b')]);
    expect(await page()).toEqual(['b plain_total 8']);
    collect({ 2: 9 });
    expect(await page()).toEqual(['b plain_total 9']);
  });

  it('is not among the live ones', () => {
    expect(aggregator.entities.all.map(({ pod }) => pod)).toEqual(['b']);
    expect(aggregator.entities.find(asNetnsId(1))?.pod).toBe('a');
    expect(aggregator.entities.shadowed).toBe(0);
  });

  it('accepts values that still come', async () => {
    collect({ 1: 12, 2: 8 });
    expect(await page()).toContain('a plain_total 12');
  });

  it('keeps them through a collection that fails', async () => {
    collect({ 2: 8 }, {}, false);
    expect(await page()).toEqual([]);
    collect({ 2: 8 });
    expect(await page()).toEqual(LAST);
  });

  it('keeps them under a name that is found later', async () => {
    aggregator.entities.set([entity(2, 'b'), entity(1, 'web', true)]);
    collect({ 2: 8 });
    expect(await page()).toEqual(LAST.map((line) => line.replace(/^a /, 'web ')));
  });

  it('gives way to a live one with the same labels', async () => {
    aggregator.entities.set([entity(2, 'b'), entity(3, 'a'), entity(1, 'a', true)]);
    collect({ 1: 100, 2: 8, 3: 1 });
    expect(await page()).toEqual(['a plain_total 1', 'b plain_total 8']);
    expect(aggregator.entities.shadowed).toBe(1);
    aggregator.entities.set([entity(2, 'b'), entity(3, 'a'), entity(1, 'a', true)]);
    expect(aggregator.entities.shadowed).toBe(1);
  });

  it('gives way to one that died later', async () => {
    aggregator.entities.set([entity(2, 'b'), entity(1, 'a', true), entity(4, 'a', true)]);
    collect({ 2: 8, 4: 2 });
    expect(await page()).toEqual(expect.arrayContaining(['a plain_total 2']));
    expect(await page()).toHaveLength(2);
  });
});

it('shows the copied values of a dead one, though it was not seen alive', async () => {
  aggregator.entities.set([entity(1, 'a', true)]);
  collect({ 1: 5 });
  collect({ 1: 5 });
  expect(await page()).toEqual(['a plain_total 5']);
});

it('an entity that was hidden in life is not shown after death', async () => {
  const inner = (isRetired: boolean) => entity(2, 'a', isRetired, 'uid-1');
  aggregator.entities.set([entity(1, 'a'), inner(false)]);
  collect({ 1: 5, 2: 1 });
  aggregator.entities.set([entity(1, 'a', true), inner(true)]);
  collect({ 1: 6, 2: 2 });
  expect(await page()).toEqual(['a plain_total 6']);
});

it('the value of a row before it vanished, or before its probe was off, is not a last value', async () => {
  aggregator.entities.set([entity(1, 'a')]);
  collect({ 1: 5 }, { eth0: 1 });
  collect({}, {});
  aggregator.entities.set([entity(1, 'a', true)]);
  collect({});
  expect(await page()).toEqual([]);

  aggregator.entities.set([entity(2, 'b')]);
  collect({ 2: 5 });
  aggregator.removeProbe('test');
  aggregator.addProbe('test', metrics, 'core');
  aggregator.entities.set([entity(2, 'b', true)]);
  collect({});
  expect(await page()).toEqual([]);
});
