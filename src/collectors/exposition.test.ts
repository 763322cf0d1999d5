import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { createFamily } from './create_family.ts';
import { EntityTable, UNLISTED_SLOT } from './entities.ts';
import type { Format } from './exposition.ts';
import { FamilyText } from './family_text.ts';
import { Scratch } from './line_text.ts';
import type { SampleLabels, SampleValue } from './sample.ts';

const COUNTER: MetricDescriptor = {
  name: 'netsonde_test_bytes_total',
  type: 'counter',
  unit: 'bytes',
  help: 'A "test"\\ of\nlines.',
  source: 'test',
  scope: 'pod',
  detail: 'core',
  labels: {},
};

function entity(id: number, namespace: string, pod: string): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace, pod, uid: '', labels: {} };
}

function render(
  descriptor: MetricDescriptor,
  samples: readonly (readonly [slot: number, value: SampleValue, labels?: SampleLabels])[],
  format: Format,
  entities = new EntityTable({ freed: () => undefined, retired: () => undefined }),
): string {
  const family = createFamily(descriptor, () => undefined);
  family.begin();
  for (const [slot, value, labels] of samples) family.put(slot, value, labels ?? {});
  family.commit(0);
  return Buffer.from(new FamilyText(descriptor, format, new Scratch()).write(family, entities)).toString();
}

describe('the two formats', () => {
  it('text: the full name, help with line feeds and backslashes escaped', () => {
    expect(render(COUNTER, [[0, 5]], 'text')).toBe(
      '# HELP netsonde_test_bytes_total A "test"\\\\ of\\nlines.\n' +
        '# TYPE netsonde_test_bytes_total counter\n' +
        'netsonde_test_bytes_total{namespace="",pod=""} 5\n',
    );
  });

  it('OpenMetrics: the family without _total, its unit, quotes escaped too', () => {
    expect(render(COUNTER, [[0, 5]], 'openmetrics')).toBe(
      '# TYPE netsonde_test_bytes counter\n' +
        '# UNIT netsonde_test_bytes bytes\n' +
        '# HELP netsonde_test_bytes A \\"test\\"\\\\ of\\nlines.\n' +
        'netsonde_test_bytes_total{namespace="",pod=""} 5\n',
    );
  });

  it('shows nothing, not even a head, for a family without samples', () => {
    expect(render(COUNTER, [], 'text')).toBe('');
  });

  it('omits the labels of an entity from the agent’s own metrics', () => {
    const own = { ...COUNTER, scope: 'agent', help: 'x.', unit: undefined } as unknown as MetricDescriptor;
    expect(render(own, [[0, 1]], 'text').split('\n')[2]).toBe('netsonde_test_bytes_total 1');
    const labelled = { ...own, labels: { probe: { help: '', example: 'x', max: 9 } } };
    expect(render(labelled, [[0, 1, { probe: 'tcp' }]], 'text').split('\n')[2]).toBe(
      'netsonde_test_bytes_total{probe="tcp"} 1',
    );
  });

  it('adds up the buckets of a histogram', () => {
    const histogram: MetricDescriptor = {
      ...COUNTER,
      name: 'netsonde_test_seconds',
      type: 'histogram',
      scope: 'agent',
      buckets: [0.5, 1],
    };
    const value = { counts: [2, 3, 4], sum: 7.25 };
    expect(
      render(histogram, [[0, value]], 'text')
        .split('\n')
        .slice(2, -1),
    ).toEqual([
      'netsonde_test_seconds_bucket{le="0.5"} 2',
      'netsonde_test_seconds_bucket{le="1"} 5',
      'netsonde_test_seconds_bucket{le="+Inf"} 9',
      'netsonde_test_seconds_sum 7.25',
      'netsonde_test_seconds_count 9',
    ]);
    expect(render(histogram, [[0, value]], 'openmetrics')).toContain('_bucket{le="1.0"} 5');
  });

  it('shows a range of the buckets, with counts outside the range in the next one', () => {
    const histogram: MetricDescriptor = {
      ...COUNTER,
      name: 'netsonde_test_seconds',
      type: 'histogram',
      scope: 'agent',
      buckets: [1, 2, 4, 8, 16],
    };
    const value = { counts: [1, 2, 3, 4, 5, 6], sum: 9, shown: { first: 1, last: 3 } };
    const lines = render(histogram, [[0, value]], 'text')
      .split('\n')
      .slice(2, -1);
    expect(lines.map((line) => line.replace('netsonde_test_seconds', ''))).toEqual([
      '_bucket{le="2"} 3',
      '_bucket{le="4"} 6',
      '_bucket{le="8"} 10',
      '_bucket{le="+Inf"} 21',
      '_sum 9',
      '_count 21',
    ]);
  });
});

describe('exemplars', () => {
  const HISTOGRAM: MetricDescriptor = {
    ...COUNTER,
    name: 'netsonde_test_seconds',
    type: 'histogram',
    unit: 'seconds',
    scope: 'agent',
    buckets: [1, 2],
  };
  const exemplar = { traceId: 'a1', value: 1.5, time: 1_700_000_000.25 };
  const withExemplars = (count: number, exemplars: readonly (typeof exemplar | undefined)[]) => ({
    counts: [0, count, 0],
    sum: 3,
    exemplars,
  });

  it('are on the lines of their buckets, in OpenMetrics only', () => {
    const lines = (format: Format) =>
      render(HISTOGRAM, [[0, withExemplars(2, [undefined, exemplar])]], format)
        .split('\n')
        .filter((line) => line.includes('_bucket'));
    expect(lines('openmetrics')).toEqual([
      'netsonde_test_seconds_bucket{le="1.0"} 0',
      'netsonde_test_seconds_bucket{le="2.0"} 2 # {trace_id="a1"} 1.5 1700000000.250',
      'netsonde_test_seconds_bucket{le="+Inf"} 2',
    ]);
    expect(lines('text').join()).not.toContain('#');
  });

  it('stay while values change, and change with the array', () => {
    const family = createFamily(HISTOGRAM, () => undefined);
    const entities = new EntityTable({ freed: () => undefined, retired: () => undefined });
    const text = new FamilyText(HISTOGRAM, 'openmetrics', new Scratch());
    const write = (value: SampleValue) => {
      family.begin();
      family.put(0, value, {});
      family.commit(0);
      return Buffer.from(text.write(family, entities)).toString();
    };
    const first = [undefined, exemplar];
    expect(write(withExemplars(2, first))).toContain('le="2.0"} 2 # {trace_id="a1"} 1.5');
    // The value grows by digits, which moves the text behind it.
    const moved = write(withExemplars(12_345, first));
    expect(moved).toContain('le="2.0"} 12345 # {trace_id="a1"} 1.5 1700000000.250\n');
    expect(moved).toContain('le="+Inf"} 12345\n');
    expect(write(withExemplars(12_345, [{ ...exemplar, traceId: 'b2', value: 0.5 }]))).toContain(
      'le="1.0"} 0 # {trace_id="b2"} 0.5 1700000000.250\n',
    );
    expect(write(withExemplars(12_346, []))).not.toContain('{trace_id=');
  });
});

describe('labels', () => {
  const names = (text: string) => {
    const found = /^[a-z_]+\{namespace="((?:[^"\\]|\\.)*)",pod="((?:[^"\\]|\\.)*)"\} 1$/.exec(
      text.split('\n')[2] ?? '',
    );
    return found?.slice(1).map((value) => value.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char)));
  };

  it('are preserved, whatever they contain', () => {
    const label = fc.string({ unit: 'grapheme', maxLength: 12 });
    fc.assert(
      fc.property(label, label, (namespace, pod) => {
        const entities = new EntityTable({ freed: () => undefined, retired: () => undefined });
        entities.set([entity(5, namespace, pod)]);
        const slot = entities.attribute(asNetnsId(5));
        return (
          JSON.stringify(names(render(COUNTER, [[slot as number, 1]], 'text', entities))) ===
          JSON.stringify([namespace, pod])
        );
      }),
    );
  });

  it('are UTF-8, byte for byte', () => {
    const entities = new EntityTable({ freed: () => undefined, retired: () => undefined });
    entities.set([entity(5, 'größe', '日本 🚀')]);
    expect(names(render(COUNTER, [[UNLISTED_SLOT + 1, 1]], 'text', entities))).toEqual(['größe', '日本 🚀']);
  });
});

describe('numbers', () => {
  const shown = (value: Counter) =>
    render(COUNTER, [[0, value]], 'text')
      .trim()
      .split(' ')
      .at(-1);

  it('of 64 bits are written in full', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => shown(value) === String(value)));
    fc.assert(fc.property(fc.maxSafeNat(), (value) => shown(value) === String(value)));
  });

  it.each([0, 9, 10, 99, 2 ** 31 - 1, 2 ** 31, 999_999_999, 1_000_000_000, 4_294_967_296, Number.MAX_SAFE_INTEGER])(
    'at the limits of the fast paths: %d',
    (value) => expect(shown(value)).toBe(String(value)),
  );

  it('that are not whole are read back unchanged', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => Number(shown(value)) === value),
    );
    expect([shown(Number.POSITIVE_INFINITY), shown(Number.NEGATIVE_INFINITY), shown(Number.NaN)]).toEqual([
      '+Inf',
      '-Inf',
      'NaN',
    ]);
  });
});
