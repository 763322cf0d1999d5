import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Aggregator } from '#collectors/aggregate.ts';
import type { ScraperView } from '#collectors/births.ts';
import type { Format } from '#collectors/exposition.ts';
import { TextWriter } from '#collectors/text_writer.ts';
import type { Counter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import {
  defineMetrics,
  type HistogramValue,
  isClosed,
  isJoint,
  isOpen,
  type JointBound,
  type LooseEmit,
  type LooseRowReader,
  type MetricDescriptor,
  type MetricSet,
  NODE,
} from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { createReferenceFamily } from '../support/reference_page/family.ts';
import { referencePage } from '../support/reference_page/page.ts';

const FORMATS = ['text', 'openmetrics'] as const satisfies readonly Format[];

/** Generates numbers from a seed that fast-check provides, so each sample of a page has its own value. */
class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** Returns a pseudo-random integer from 0 to `end` - 1 (xorshift32). */
  below(end: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % end;
  }

  /**
   * Usually returns the previous number or one with the same number of digits. Sometimes returns a number that is
   * difficult to format.
   * @param isAdded whether the value may become part of the sum in the row `*`, which requires an integer
   */
  counter(isAdded: boolean): Counter {
    const kind = this.below(24);
    if (kind < 8) return 5;
    if (kind < 16) return this.below(12);
    if (kind < 20) return this.below(10 ** (1 + this.below(9)));
    const wide = [2 ** 53 - 1, 2n ** 60n + 1n, 2n ** 63n];
    const odd = isAdded ? wide : [...wide, 0.25, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e21, -0];
    return odd[this.below(odd.length)] ?? 0;
  }

  histogram(buckets: number): HistogramValue {
    const counts = Array.from({ length: buckets + 1 }, () => (this.below(4) === 0 ? 2n ** 60n : this.below(3)));
    if (this.below(2) === 0) return { counts, sum: this.below(100) / 4 };
    const first = this.below(buckets);
    return { counts, sum: 1, shown: { first, last: first + this.below(buckets - first) } };
  }
}

interface Flow {
  readonly id: NetnsId;
  readonly peer: string;
}

type Step =
  | { readonly do: 'collect'; readonly probe: number; readonly seed: number; readonly fails: boolean }
  | { readonly do: 'page'; readonly holdMs: number; readonly seen: boolean }
  | {
      readonly do: 'entities';
      readonly pods: readonly number[];
      readonly dead: readonly number[];
      readonly name: number;
    }
  | { readonly do: 'probe'; readonly probe: number; readonly isOn: boolean; readonly detail: 'core' | 'full' }
  | { readonly do: 'limit'; readonly series: number }
  | { readonly do: 'wait'; readonly ms: number };

const PODS = 5;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('collect' as const),
      probe: fc.nat(1),
      seed: fc.integer({ min: 1 }),
      fails: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('page' as const), holdMs: fc.nat(40_000), seen: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('entities' as const),
      pods: fc.subarray(Array.from({ length: PODS }, (_, id) => id + 1)),
      dead: fc.subarray(Array.from({ length: PODS }, (_, id) => id + 1)),
      name: fc.nat(1),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('probe' as const),
      probe: fc.nat(1),
      isOn: fc.boolean(),
      detail: fc.constantFrom('core' as const, 'full' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('limit' as const), series: fc.constantFrom(4, 20, 60, 1e6) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 60_000 }) }) },
);

/**
 * Two aggregators with the same history: the agent's own, and one that uses the reference implementation for rows and
 * page.
 */
class Pair {
  readonly #sets: readonly MetricSet[];
  readonly #detail: 'core' | 'full';
  readonly #ours: Aggregator;
  readonly #reference: Aggregator;
  #nowMs = 1_000;
  pages = 0;

  constructor(sets: readonly MetricSet[], detail: 'core' | 'full') {
    this.#sets = sets;
    this.#detail = detail;
    const names = sets.map((_, index) => `probe${index}`);
    const parts = [names, () => false, () => this.#nowMs, (id: NetnsId) => Number(id) % 2 === 1] as const;
    this.#ours = new Aggregator(...parts);
    this.#reference = new Aggregator(...parts, createReferenceFamily);
    sets.forEach((_, probe) => {
      this.#both((one) => one.addProbe(`probe${probe}`, sets[probe] as MetricSet, detail, probe === 1));
    });
    this.#setEntities([1, 2, 3], [], 0);
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'collect':
        return this.#collect(step.probe % this.#sets.length, step.seed, step.fails);
      case 'page':
        return this.#compare(step.holdMs, step.seen);
      case 'entities':
        return this.#setEntities(step.pods, step.dead, step.name);
      case 'probe': {
        const probe = step.probe % this.#sets.length;
        const set = this.#sets[probe] as MetricSet;
        return this.#both((one) => {
          if (step.isOn)
            one.addProbe(`probe${probe}`, set, this.#detail === 'core' ? 'core' : step.detail, probe === 1);
          else one.removeProbe(`probe${probe}`);
        });
      }
      case 'limit':
        return this.#both((one) => {
          one.limit.max = step.series;
          one.fit();
        });
      case 'wait':
        this.#nowMs += step.ms;
    }
  }

  #both(act: (one: Aggregator) => void): void {
    act(this.#ours);
    act(this.#reference);
  }

  #setEntities(pods: readonly number[], dead: readonly number[], name: number): void {
    const entities = [...new Set([...pods, ...dead])].map(
      (id): Entity => ({
        kind: 'pod',
        netns: asNetnsId(id),
        inum: id,
        namespace: 'x',
        pod: id === 1 ? `p1-${name}` : `p${id}`,
        uid: `u${id}`,
        labels: { app: id === 2 && name === 1 ? 'ä"\\' : '' },
        isRetired: dead.includes(id),
      }),
    );
    entities.sort((a, b) => Number(a.isRetired) - Number(b.isRetired));
    this.#both((one) => one.entities.set(entities, { app: name === 1 ? 'all' : '' }));
  }

  #collect(probe: number, seed: number, fails: boolean): void {
    this.#both((one) => {
      const batch = one.begin(`probe${probe}`);
      emitAll(batch.emit as unknown as LooseEmit, this.#sets[probe] as MetricSet, new Numbers(seed));
      if (fails) batch.discard();
      else batch.commit();
    });
    if (seed % 3 === 0) this.#both((one) => one.fit());
  }

  async #compare(holdMs: number, seen: boolean): Promise<void> {
    const scraper: ScraperView = { askedMs: this.#nowMs, holdMs, seenMs: seen ? this.#nowMs - holdMs : undefined };
    for (const view of [undefined, scraper]) {
      for (const format of FORMATS) {
        const writer = new TextWriter();
        await this.#ours.render(writer, format, freeCycle(), view);
        const reference = referencePage(this.#reference, format, view);
        expect(Buffer.concat(writer.finish()).toString()).toBe(reference);
        this.pages++;
      }
    }
    expect(this.#ours.limit.series).toBe(this.#reference.limit.series);
    expect(this.#ours.overflows).toEqual(this.#reference.overflows);
  }
}

/** Emits samples of all metrics for some namespaces. Some samples are emitted as columns, and some are omitted. */
function emitAll(emit: LooseEmit, set: MetricSet, numbers: Numbers): void {
  const ids = Array.from({ length: PODS + 1 }, (_, id) => asNetnsId(id + 1));
  const bounds = new Set<JointBound>();
  for (const [metric, descriptor] of Object.entries(set)) {
    const joint = Object.values(descriptor.labels).find(isJoint);
    if (joint !== undefined) {
      bounds.add(joint.joint);
      continue;
    }
    const isAdded = Object.values(descriptor.labels).some(isOpen);
    for (let column = 0; column < 3; column++) {
      const labels = labelsOf(descriptor, numbers);
      const value = () =>
        descriptor.type === 'histogram' ? numbers.histogram(descriptor.buckets?.length ?? 0) : numbers.counter(isAdded);
      if (descriptor.scope !== 'pod') emit(metric, NODE, value(), labels);
      else if (numbers.below(2) === 0) {
        const values = ids.map(() => (numbers.below(8) === 0 ? undefined : value()));
        emit.column(metric, ids, labels, (row) => values[row]);
      } else {
        const keep = numbers.below(8) === 0;
        for (const id of ids) if (numbers.below(8) > 0) emit(metric, id, value(), labels, { keep });
      }
    }
  }
  for (const bound of bounds) emitRows(emit, set, bound, ids, numbers);
}

function labelsOf({ labels }: MetricDescriptor, numbers: Numbers): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, label]) => [
      name,
      isClosed(label) ? (label.values[numbers.below(label.values.length)] as string) : `v${numbers.below(5)}"`,
    ]),
  );
}

function jointNames(labels: MetricDescriptor['labels']): string[] {
  return Object.entries(labels).flatMap(([name, label]) => (isJoint(label) ? [name] : []));
}

function emitRows(emit: LooseEmit, set: MetricSet, bound: JointBound, ids: readonly NetnsId[], numbers: Numbers): void {
  const names = [...new Set(Object.values(set).flatMap(({ labels }) => jointNames(labels)))];
  const rows: Flow[] = ids.flatMap((id) => [0, 1, 2].map(() => ({ id, peer: `e${numbers.below(6)}` })));
  const reader: LooseRowReader<Flow> = {
    subject: ({ id }) => id,
    key: ({ peer }) => peer,
    labels: ({ peer }) => Object.fromEntries(names.map((name) => [name, peer])),
    samples: (_, put) => {
      for (const [metric, descriptor] of Object.entries(set)) {
        if (!Object.values(descriptor.labels).some(isJoint)) continue;
        const own = Object.entries(descriptor.labels).flatMap(([name, label]) =>
          isClosed(label) ? [[name, label.values[numbers.below(label.values.length)] as string]] : [],
        );
        const buckets = descriptor.buckets?.length ?? 0;
        put(
          metric,
          descriptor.type === 'histogram'
            ? { counts: Array.from({ length: buckets + 1 }, () => numbers.below(9)), sum: numbers.below(9) }
            : numbers.below(1_000_000),
          Object.fromEntries(own),
        );
      }
    },
  };
  emit.rows(bound, rows, reader);
}

async function hold(sets: readonly MetricSet[], detail: 'core' | 'full', runs: number, steps: number): Promise<void> {
  let pages = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: steps }), async (history) => {
      const pair = new Pair(sets, detail);
      for (const one of history) await pair.take(one);
      await pair.take({ do: 'page', holdMs: 1_000, seen: false });
      pages += pair.pages;
    }),
    { numRuns: runs },
  );
  expect(pages).toBeGreaterThan(runs);
}

const base = { help: 'A "test"\\.\n', source: 'test', detail: 'core', scope: 'pod' } as const;
const OPEN = { help: 'Open.', example: 'v0', max: 2 } as const;
const CLOSED = { help: 'Closed.', values: ['one', 'two', 'three'] } as const;
const bound: JointBound = { max: { core: 2, full: 3 }, rank: ['edge'] };
const PEER = { help: 'Peer.', example: 'e0', joint: bound } as const;

const KINDS = defineMetrics({
  plain: { ...base, type: 'counter', unit: 'bytes', name: 'netsonde_plain_bytes_total', labels: {} },
  gauge: { ...base, type: 'gauge', name: 'netsonde_gauge', labels: {} },
  closed: { ...base, type: 'counter', name: 'netsonde_closed_total', labels: { a: CLOSED, b: CLOSED } },
  open: { ...base, type: 'counter', name: 'netsonde_open_total', labels: { a: OPEN, b: CLOSED } },
  openGauge: { ...base, type: 'gauge', name: 'netsonde_open', labels: { a: OPEN } },
  delay: { ...base, type: 'histogram', name: 'netsonde_delay', labels: { a: OPEN }, buckets: [0.5, 1, 2, 4] },
  alone: { ...base, type: 'histogram', name: 'netsonde_alone', labels: {}, buckets: [1, 2] },
  full: { ...base, type: 'counter', name: 'netsonde_full_total', labels: { a: CLOSED }, detail: 'full' },
  agent: { ...base, scope: 'agent', type: 'gauge', name: 'netsonde_agent', labels: {} },
  ofProbe: { ...base, scope: 'agent', type: 'histogram', name: 'netsonde_of_probe', labels: { a: OPEN }, buckets: [1] },
  node: { ...base, scope: 'node', type: 'counter', name: 'netsonde_node_total', labels: { a: CLOSED } },
  edge: { ...base, type: 'counter', name: 'netsonde_edge_total', labels: { peer: PEER, b: CLOSED } },
  edgeDelay: { ...base, type: 'histogram', name: 'netsonde_edge_delay', labels: { peer: PEER }, buckets: [1, 2] },
  edgeNow: { ...base, type: 'gauge', name: 'netsonde_edge_now', labels: { peer: PEER }, detail: 'full' },
});

describe('the page is byte for byte the one that is put together from scratch', () => {
  for (const detail of ['core', 'full'] as const) {
    it(`of every kind of metric, ${detail}`, () => hold([KINDS, KINDS], detail, 60, 30));

    for (const { name, metrics } of PROBES) {
      it(`of ${name}, ${detail}`, () => hold([metrics as MetricSet], detail, 3, 14));
    }
  }

  it('where it is longer than the buffer of a writer, and grows', async () => {
    const many = { help: 'Many.', example: '0', max: 1e6 } as const;
    const set = defineMetrics({
      before: { ...base, type: 'gauge', name: 'netsonde_before', labels: {} },
      many: { ...base, type: 'counter', name: 'netsonde_many_total', labels: { number: many } },
      after: { ...base, type: 'gauge', name: 'netsonde_after', labels: {} },
    });
    const [ours, reference] = [undefined, createReferenceFamily].map((create) => {
      const one = new Aggregator(
        ['test'],
        () => false,
        () => 0,
        () => false,
        create,
      );
      one.addProbe('test', set, 'core');
      return one;
    }) as [Aggregator, Aggregator];
    for (const round of [1, 1, 7, 1_000_000]) {
      for (const one of [ours, reference]) {
        const batch = one.begin('test');
        const emit = batch.emit as unknown as LooseEmit;
        emit('before', NODE, round, {});
        for (let number = 0; number < 10_000; number++) emit('many', NODE, number * round, { number: `${number}` });
        emit('after', NODE, round, {});
        batch.commit();
      }
      const writer = new TextWriter();
      await ours.render(writer, 'text', freeCycle());
      const chunks = writer.finish();
      expect(chunks.length).toBeGreaterThan(1);
      expect(Buffer.concat(chunks).toString()).toBe(referencePage(reference, 'text'));
    }
  });
});
