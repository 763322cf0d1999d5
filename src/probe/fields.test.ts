import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FieldChoice, parseField } from './fields.ts';
import { defineMetrics } from './metric.ts';

const metrics = defineMetrics({
  states: {
    type: 'gauge',
    name: 'netsonde_states',
    help: 'Test.',
    source: 'test',
    scope: 'pod',
    detail: 'core',
    labels: {
      state: { help: 'State.', values: ['a', 'b', 'c'] },
      family: { help: 'Family.', values: ['ipv4', 'ipv6'] },
    },
  },
  other: {
    type: 'counter',
    name: 'netsonde_other_total',
    help: 'T.',
    source: 't',
    scope: 'pod',
    detail: 'full',
    labels: {},
  },
});

it('has all series of a metric, or the series that one of its entries names', () => {
  const choice = new FieldChoice(metrics, [
    'netsonde_states{state=~"a|b", family="ipv4"}',
    'netsonde_states{state="c"}',
  ]);
  expect([choice.has('states'), choice.has('other')]).toEqual([true, false]);
  const taken = ['a', 'b', 'c'].flatMap((state) =>
    ['ipv4', 'ipv6'].filter((family) => choice.takes('states', { state, family })).map((family) => state + family),
  );
  expect(taken).toEqual(['aipv4', 'bipv4', 'cipv4', 'cipv6']);
  expect(choice.takes('other', {})).toBe(false);
  expect(new FieldChoice(metrics, ['netsonde_other_total']).takes('other', {})).toBe(true);
  expect(() => new FieldChoice(metrics, ['netsonde_none'])).toThrow('netsonde_none is not a field');
});

it.each(['', 'a b', 'a{', 'a{}', 'a{b}', 'a{b="c"', 'a{b!="c"}', 'a{b="c",}', 'a{b="c",b="d"}', 'a{b="\\"}'])(
  '%j is not a field',
  (text) => {
    expect(parseField(text)).toBeUndefined();
  },
);

it('never throws, and parses every formatted entry back', () => {
  fc.assert(fc.property(fc.string(), (text) => void parseField(text)));
  const word = fc.stringMatching(/^[a-z_]{1,8}$/);
  const only = fc.dictionary(word, fc.array(word, { minLength: 1, maxLength: 3 }), {
    minKeys: 1,
    maxKeys: 3,
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(word, only, (metric, labels) => {
      const text = Object.entries(labels).map(([label, values]) => `${label}=~"${values.join('|')}"`);
      expect(parseField(`${metric}{${text.join(',')}}`)).toEqual({ metric, only: labels });
    }),
  );
});
