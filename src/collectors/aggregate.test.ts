import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import { defineMetrics, type LooseEmit, NO_LABELS } from '#probe/metric.ts';
import { parseExposition, sampleValue } from '../../test/support/exposition.ts';
import { Aggregator } from './aggregate.ts';
import { TextWriter } from './text_writer.ts';

const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
const DEVICE = { help: 'Device.', example: 'eth0', max: 2 } as const;

const metrics = defineMetrics({
  plain: { ...base, type: 'counter', name: 'netsonde_plain_total', labels: {} },
  bytes: { ...base, type: 'counter', name: 'netsonde_bytes_total', labels: { device: DEVICE } },
  queue: { ...base, type: 'gauge', name: 'netsonde_queue', labels: { device: DEVICE } },
  delay: { ...base, type: 'histogram', name: 'netsonde_delay', labels: { device: DEVICE }, buckets: [1] },
  detailed: { ...base, type: 'counter', name: 'netsonde_detailed_total', labels: {}, detail: 'full' },
});

const A = asNetnsId(1);
const B = asNetnsId(2);

function entity(id: number, pod: string): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'x', pod, uid: '', labels: {} };
}

let aggregator: Aggregator;

beforeEach(() => {
  aggregator = new Aggregator(['test'], (id) => id === 99);
  aggregator.addProbe('test', metrics, 'core');
  aggregator.entities.set([entity(1, 'a'), entity(2, 'b')]);
});

function cycle(emit: (emit: LooseEmit) => void, commit = true): void {
  const batch = aggregator.begin('test');
  emit(batch.emit as LooseEmit);
  if (commit) batch.commit();
  else batch.discard();
}

async function page() {
  const writer = new TextWriter();
  await aggregator.render(writer, 'text', freeCycle());
  return parseExposition(Buffer.concat(writer.finish()).toString());
}

/** Collects `bytes` for Pod A, with one value per device. */
function devices(values: Readonly<Record<string, Counter>>, keep = false): void {
  cycle((emit) => {
    for (const [device, value] of Object.entries(values)) emit('bytes', A, value, { device }, { keep });
  });
}

async function bytes(): Promise<Record<string, number>> {
  const { samples } = await page();
  return Object.fromEntries(samples.map(({ labels, value }) => [labels['device'], Number(value)]));
}

describe('attribution', () => {
  it('assigns a sample to the entity of its namespace', async () => {
    cycle((emit) => {
      emit('plain', A, 3, NO_LABELS);
      emit('plain', B, 2n ** 60n, NO_LABELS);
    });
    const shown = await page();
    expect(sampleValue(shown, 'netsonde_plain_total', { namespace: 'x', pod: 'a' })).toBe(3);
    expect(shown.samples.find(({ labels }) => labels['pod'] === 'b')?.value).toBe('1152921504606846976');
  });

  it('counts a sample of an unknown namespace, unless that is known to be unowned', async () => {
    cycle((emit) => {
      emit('plain', asNetnsId(7), 1, NO_LABELS);
      emit('plain', asNetnsId(99), 1, NO_LABELS);
    });
    expect(aggregator.unattributed.get('test')).toBe(1);
    expect((await page()).samples).toEqual([]);
  });

  it('shows the later of two entities with the same labels, and counts the other', async () => {
    aggregator.entities.set([entity(1, 'a'), entity(2, 'a')]);
    cycle((emit) => {
      emit('plain', A, 1, NO_LABELS);
      emit('plain', B, 2, NO_LABELS);
    });
    expect(sampleValue(await page(), 'netsonde_plain_total', { pod: 'a' })).toBe(2);
    expect(aggregator.entities.shadowed).toBe(1);
    aggregator.entities.set([entity(1, 'a')]);
    cycle((emit) => emit('plain', A, 1, NO_LABELS));
    expect(sampleValue(await page(), 'netsonde_plain_total', { pod: 'a' })).toBe(1);
  });

  it('does not pass a dead entity’s numbers to the next one', async () => {
    devices({ eth0: 5, eth1: 6, eth2: 7 });
    aggregator.entities.set([entity(2, 'b')]);
    aggregator.entities.set([entity(2, 'b'), entity(3, 'c')]);
    cycle((emit) => emit('bytes', asNetnsId(3), 1, { device: 'eth0' }));
    expect((await page()).samples).toEqual([
      { name: 'netsonde_bytes_total', labels: { namespace: 'x', pod: 'c', device: 'eth0' }, value: '1' },
    ]);
  });

  it('applies a new name of an entity', async () => {
    cycle((emit) => emit('plain', A, 1, NO_LABELS));
    aggregator.entities.set([entity(1, 'renamed'), entity(2, 'b')]);
    cycle((emit) => emit('plain', A, 1, NO_LABELS));
    expect((await page()).samples.map(({ labels }) => labels['pod'])).toEqual(['renamed']);
  });

  it('adds a value that is * itself to the total under *, even if there is room or it is to be kept', async () => {
    devices({ '*': 5, eth0: 6 });
    expect(await bytes()).toEqual({ '*': 5, eth0: 6 });
    devices({ '*': 7, eth0: 6, eth1: 8, eth2: 9 });
    expect(await bytes()).toEqual({ eth0: 6, eth1: 8, '*': 16 });
    devices({ '*': 8, eth0: 6, eth1: 8, eth2: 9 }, true);
    expect(await bytes()).toEqual({ eth0: 6, eth1: 8, '*': 17 });
    expect((await page()).samples).toHaveLength(3);
  });

  it('counts a renamed value once, if its identity is known', async () => {
    const numbered = (values: Readonly<Record<string, readonly [identity: number, value: number]>>) =>
      cycle((emit) => {
        for (const [device, [identity, value]] of Object.entries(values)) {
          emit('bytes', A, value, { device }, { identity });
        }
      });
    numbered({ eth0: [1, 5], eth1: [2, 6], x0: [3, 100] });
    for (let name = 1; name < 5; name++) numbered({ eth0: [1, 5], eth1: [2, 6], [`x${name}`]: [3, 100 + name] });
    expect(await bytes()).toEqual({ eth0: 5, eth1: 6, '*': 104 });
    // The device with the identity 3 stays collapsed even after eth1 has disappeared.
    for (let name = 5; name < 9; name++) numbered({ eth0: [1, 5], [`x${name}`]: [3, 100 + name] });
    expect(await bytes()).toEqual({ eth0: 5, '*': 108 });
    // The identity now belongs to a new device, whose counter starts at a lower value.
    numbered({ eth0: [1, 5], y: [3, 7] });
    expect(await bytes()).toEqual({ eth0: 5, '*': 115 });
  });

  it('keeps collapsed counts under the old name, and shows the changed labels', async () => {
    devices({ eth0: 5, eth1: 6, eth2: 7 });
    devices({ eth0: 5, eth1: 6 });
    expect(await bytes()).toEqual({ eth0: 5, eth1: 6, '*': 7 });
    aggregator.entities.set([{ ...entity(1, 'renamed'), labels: { app: 'web' } }], { app: '' });
    devices({ eth0: 5, eth1: 6 });
    expect(await bytes()).toEqual({ eth0: 5, eth1: 6, '*': 7 });
    for (const { labels } of (await page()).samples) expect(labels).toMatchObject({ pod: 'renamed', app: 'web' });
  });
});

describe('a column', () => {
  const C = asNetnsId(3);
  const values = [7, undefined, 2n ** 60n];
  const column = (emit: LooseEmit, metric: string, ids = [A, B, C]) =>
    emit.column(metric, ids, NO_LABELS, (row) => values[row]);

  it('is equivalent to a sample of each namespace', async () => {
    aggregator.entities.set([entity(1, 'a'), entity(2, 'b'), entity(3, 'c')]);
    cycle((emit) => column(emit, 'plain'));
    expect((await page()).samples.map(({ labels, value }) => [labels['pod'], value])).toEqual([
      ['a', '7'],
      ['c', '1152921504606846976'],
    ]);
  });

  it('counts each sample of an unknown namespace, except those that are known to be unowned', () => {
    cycle((emit) => {
      column(emit, 'plain');
      column(emit, 'plain');
      column(emit, 'plain', [A, B, asNetnsId(99)]);
      column(emit, 'detailed');
    });
    expect(aggregator.unattributed.get('test')).toBe(2);
  });

  it('looks up its namespaces again if their entities differ from those of the column before', async () => {
    const ids = [A, B, C];
    cycle((emit) => {
      column(emit, 'plain', ids);
      aggregator.entities.set([entity(2, 'b')]);
      aggregator.entities.set([entity(2, 'b'), entity(3, 'c')]);
      column(emit, 'plain', ids);
    });
    expect((await page()).samples.map(({ labels, value }) => [labels['pod'], value])).toEqual([
      ['c', '1152921504606846976'],
    ]);
  });

  it('shows only the namespaces that its probe’s pod filter selects', async () => {
    const batch = aggregator.begin('test', (id) => id === A);
    (batch.emit as LooseEmit).column('plain', [B, A], NO_LABELS, () => 5);
    batch.commit();
    expect((await page()).samples.map(({ labels }) => labels['pod'])).toEqual(['a']);
  });

  it('is ignored once the batch is closed', async () => {
    const batch = aggregator.begin('test');
    batch.commit();
    column(batch.emit as LooseEmit, 'plain');
    expect((await page()).samples).toEqual([]);
  });
});

describe('the page', () => {
  it('shows the last committed cycle: nothing from a discarded one, nor from an earlier one', async () => {
    cycle((emit) => emit('plain', A, 1, NO_LABELS));
    cycle((emit) => emit('plain', A, 2, NO_LABELS), false);
    expect((await page()).samples).toEqual([]);
    cycle((emit) => emit('plain', B, 3, NO_LABELS));
    expect((await page()).samples).toHaveLength(1);
  });

  it('ignores a probe whose batch is closed', async () => {
    const batch = aggregator.begin('test');
    batch.discard();
    (batch.emit as LooseEmit)('plain', A, 1, NO_LABELS);
    batch.commit();
    expect((await page()).samples).toEqual([]);
  });

  it('never has two samples with the same labels', async () => {
    cycle((emit) => {
      emit('plain', A, 1, NO_LABELS);
      emit('plain', A, 2, NO_LABELS);
      emit('bytes', A, 3, { device: 'eth0' });
      emit('bytes', A, 4, { device: 'eth0' });
    });
    expect((await page()).samples.map(({ value }) => value)).toEqual(['2', '4']);
  });

  it('has the details only if they are configured', async () => {
    cycle((emit) => emit('detailed', A, 1, NO_LABELS));
    expect((await page()).samples).toEqual([]);
    aggregator.addProbe('test', metrics, 'full');
    cycle((emit) => emit('detailed', A, 1, NO_LABELS));
    expect((await page()).samples).toHaveLength(1);
    aggregator.removeProbe('test');
    expect((await page()).samples).toEqual([]);
  });
});

describe('an open label', () => {
  it('adds up values beyond its limit under *', async () => {
    devices({ a: 1, b: 2, c: 10, d: 20 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 30 });
    expect(aggregator.overflows.get('netsonde_bytes_total\0device')).toBe(2);
  });

  it('keeps the last value of a row that vanishes, and does not count it twice when the row comes back', async () => {
    devices({ a: 1, b: 2, c: 10, d: 20 });
    devices({ a: 1, b: 2, d: 21 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 31 });
    devices({ a: 1, b: 2, c: 12, d: 21 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 33 });
    devices({ a: 1, b: 2, c: 3, d: 21 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 36 });
  });

  it('gives the place of a vanished value to a new one, not to a collapsed one', async () => {
    devices({ a: 1, b: 2, c: 10 });
    devices({ b: 2, c: 11 });
    devices({ b: 2, c: 12, new: 5 });
    expect(await bytes()).toEqual({ b: 2, new: 5, '*': 12 });
  });

  it('never collapses values that are to be kept', async () => {
    devices({ a: 1, b: 2, c: 10 });
    devices({ a: 1, b: 2, c: 10, d: 4 }, true);
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 10, d: 4 });
  });

  it('shows the first values of a gauge, chosen again each time', async () => {
    const queues = async (...values: readonly [string, number][]) => {
      cycle((emit) => {
        for (const [device, value] of values) emit('queue', A, value, { device });
      });
      const { samples } = await page();
      return Object.fromEntries(samples.map(({ labels, value }) => [labels['device'], Number(value)]));
    };
    expect(await queues(['a', 1], ['b', 2], ['c', 3], ['d', 4])).toEqual({ a: 1, b: 2, '*': 7 });
    expect(await queues(['d', 4], ['a', 1], ['b', 2])).toEqual({ d: 4, a: 1, '*': 2 });
    expect(await queues(['c', 5])).toEqual({ c: 5 });
  });

  it('adds up only the current values of a gauge', async () => {
    const queue = (values: Readonly<Record<string, number>>) =>
      cycle((emit) => {
        for (const [device, value] of Object.entries(values)) emit('queue', A, value, { device });
      });
    queue({ a: 1, b: 2, c: 3, d: 4 });
    queue({ a: 1, b: 2, d: 4 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 4 });
  });

  it('adds up histograms bucket by bucket, and continues where one is reset', async () => {
    const put = (counts: readonly number[]) =>
      cycle((emit) => {
        for (const device of ['a', 'b']) emit('delay', A, { counts: [1, 1], sum: 1 }, { device });
        for (const device of ['c', 'd']) emit('delay', A, { counts, sum: 2 }, { device });
      });
    const shown = async (suffix: string) => sampleValue(await page(), `netsonde_delay_${suffix}`, { device: '*' });
    put([3, 5]);
    expect([await shown('sum'), await shown('count')]).toEqual([4, 16]);
    put([4, 6]);
    expect([await shown('sum'), await shown('count')]).toEqual([4, 20]);
    put([1, 0]);
    expect([await shown('sum'), await shown('count')]).toEqual([8, 22]);
  });

  it('continues from its value after its probe was off', async () => {
    devices({ a: 1, b: 2, c: 10, d: 20 });
    devices({ a: 1, b: 2, d: 20 });
    aggregator.removeProbe('test');
    aggregator.addProbe('test', metrics, 'core');
    devices({ a: 1, b: 2, d: 20 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 30 });
  });

  it('does not mistake a failed cycle for vanished rows', async () => {
    devices({ a: 1, b: 2 });
    cycle(() => undefined, false);
    devices({ new: 7, a: 1, b: 2 });
    expect(await bytes()).toEqual({ a: 1, b: 2, '*': 7 });
  });

  it('conserves the sum and never steps back, for any devices that start and end', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const step = fc.array(fc.record({ name: fc.constantFrom(...names), grows: fc.nat({ max: 5 }) }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        aggregator = new Aggregator(['test'], () => false);
        aggregator.addProbe('test', metrics, 'core');
        aggregator.entities.set([entity(1, 'a')]);
        const counters = new Map(names.map((name) => [name, 0]));
        let star = 0;
        for (const now of steps) {
          for (const { name, grows } of now) counters.set(name, (counters.get(name) ?? 0) + grows);
          const live = Object.fromEntries(now.map(({ name }) => [name, counters.get(name) ?? 0]));
          devices(live);
          const shown = await bytes();
          const liveSum = Object.values(live).reduce((sum, value) => sum + value, 0);
          const shownSum = Object.values(shown).reduce((sum, value) => sum + value, 0);
          expect(shownSum).toBeGreaterThanOrEqual(liveSum);
          for (const [name, value] of Object.entries(shown)) if (name !== '*') expect(value).toBe(live[name]);
          expect(shown['*'] ?? star).toBeGreaterThanOrEqual(star);
          star = shown['*'] ?? star;
          expect(Object.keys(shown).length).toBeLessThanOrEqual(DEVICE.max + 1);
        }
      }),
    );
  });
});

describe('two namespaces with the same labels', () => {
  const withUid = (id: number, uid: string): Entity => ({ ...entity(id, 'same'), uid });
  const shown = async () => {
    cycle((emit) => {
      emit('plain', A, 10, NO_LABELS);
      emit('plain', B, 20, NO_LABELS);
    });
    return (await page()).samples.map(({ value }) => Number(value));
  };

  it('of one Pod: the first stays, even if it was known alone before', async () => {
    aggregator.entities.set([withUid(1, 'u')]);
    expect(await shown()).toEqual([10]);
    aggregator.entities.set([withUid(1, 'u'), withUid(2, 'u')]);
    expect(await shown()).toEqual([10]);
    expect(aggregator.entities.shadowed).toBe(1);
    aggregator.entities.set([withUid(2, 'u')]);
    expect(await shown()).toEqual([20]);
  });

  it('of two Pods: the newer one is shown', async () => {
    aggregator.entities.set([withUid(1, 'u'), withUid(2, 'v')]);
    expect(await shown()).toEqual([20]);
  });
});
