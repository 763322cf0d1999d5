import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { renderHead } from '#collectors/exposition.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { isJoint, isOpen, type MetricDescriptor, type MetricSet } from '#probe/metric.ts';
import { sourceOf } from '#probe/mib_fields.ts';
import { PROBES } from '#probes/index.ts';
import { costsOf } from '../../scripts/cost_tables.ts';
import { isSeries, METRICS } from '../support/descriptors.ts';
import { lacks } from '../support/programs.ts';
import { checkPromql } from '../support/promtool.ts';

/** Matches a sentence in one line: it starts with a capital, a digit or code, and ends with a full stop. */
const SENTENCE = /^[A-Z0-9`][^\n]*\.$/;
const UNIT_WORDS = /_(ms|msec|milliseconds|us|microseconds|ns|nanoseconds|kb|kilobytes|percent|minutes|hours)(_|$)/;

describe.each(METRICS.map((metric) => [metric.name, metric] as const))('%s', (_, metric) => {
  it('is named by the rules of Prometheus', () => {
    expect(metric.name).toMatch(/^netsonde_[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    expect(metric.name.endsWith('_total')).toBe(metric.type === 'counter');
    expect(metric.name).not.toMatch(UNIT_WORDS);
    expect(metric.name).not.toMatch(/_(counter|gauge|histogram)(_|$)/);
    const base = metric.name.replace(/_total$/, '');
    for (const unit of ['seconds', 'bytes', 'ratio']) expect(base.endsWith(`_${unit}`)).toBe(metric.unit === unit);
  });

  it('has a description of one sentence, and a source', () => {
    expect(metric.help).toMatch(SENTENCE);
    expect(sourceOf(metric)).not.toBe('');
  });

  it('has labels with names, help and bounds', () => {
    for (const [name, label] of Object.entries(metric.labels)) {
      expect(name).toMatch(/^[a-z][a-z_]*$/);
      expect(['namespace', 'pod', 'le', 'quantile', 'job', 'instance', 'node']).not.toContain(name);
      if (isOpen(label)) expect(label.max).toBeGreaterThan(0);
      else if (isJoint(label)) expect(label.joint.max.core).toBeGreaterThan(0);
      else expect(new Set(label.values).size).toBe(label.values.length);
    }
  });

  it('has ascending buckets if it is a histogram', () => {
    expect(metric.buckets !== undefined).toBe(metric.type === 'histogram');
    const buckets = metric.buckets ?? [];
    expect([...buckets].sort((a, b) => a - b)).toEqual([...buckets]);
  });
});

/**
 * Suffixes that OpenMetrics appends to the name of a metric family. A name with such a suffix must not be the name of
 * another family.
 */
const SUFFIXES = ['_total', '_created', '_bucket', '_sum', '_count', '_gsum', '_gcount', '_info'];

/** Returns the names that two metric families share in one of the two formats. */
function clashes(metrics: readonly Pick<MetricDescriptor, 'name' | 'type'>[]): string[] {
  const owners = new Map<string, Set<string>>();
  for (const { name, type } of metrics) {
    const family = type === 'counter' ? name.replace(/_total$/, '') : name;
    for (const claimed of [family, ...SUFFIXES.map((suffix) => family + suffix)]) {
      owners.set(claimed, (owners.get(claimed) ?? new Set()).add(`${type} ${name}`));
    }
  }
  return [...owners].filter(([, by]) => by.size > 1).map(([name, by]) => `${name}: ${[...by].join(', ')}`);
}

describe('families', () => {
  it('have names of their own, whatever suffix a format appends', () => {
    const names = METRICS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(clashes(METRICS)).toEqual([]);
  });

  it.each([
    [{ name: 'netsonde_x', type: 'gauge' } as const, { name: 'netsonde_x_total', type: 'counter' } as const],
    [{ name: 'netsonde_x', type: 'histogram' } as const, { name: 'netsonde_x_count', type: 'gauge' } as const],
    [{ name: 'netsonde_x', type: 'histogram' } as const, { name: 'netsonde_x_sum_total', type: 'counter' } as const],
    [{ name: 'netsonde_x_total', type: 'counter' } as const, { name: 'netsonde_x_created', type: 'gauge' } as const],
    [{ name: 'netsonde_x', type: 'gauge' } as const, { name: 'netsonde_x_info', type: 'gauge' } as const],
  ])('that would clash are found: %o, %o', (one, other) => {
    expect(clashes([one, other])).not.toEqual([]);
    expect(clashes([one, { ...other, name: 'netsonde_y' }])).toEqual([]);
  });

  it('do not end in a suffix themselves, except for info metrics', () => {
    for (const { name, type, labels } of METRICS) {
      const family = type === 'counter' ? name.replace(/_total$/, '') : name;
      const suffix = SUFFIXES.find((one) => family.endsWith(one));
      // An info metric is a gauge with the value 1 and labels, because the Prometheus text format has no type for it.
      const isInfo = suffix === '_info' && type === 'gauge' && Object.keys(labels).length > 0;
      expect(suffix === undefined || isInfo, name).toBe(true);
    }
  });

  it('are named for their unit, which OpenMetrics shows for no others', () => {
    for (const { name, type, unit } of METRICS) {
      const head = renderHead({ name, type, help: 'x.', ...(unit === undefined ? {} : { unit }) }, 'openmetrics');
      const family = type === 'counter' ? name.replace(/_total$/, '') : name;
      expect(head.includes(`# UNIT ${family} ${unit}\n`), name).toBe(unit !== undefined);
    }
  });
});

describe.each(PROBES.map((probe) => [probe.name, probe] as const))('probe %s', (name, probe) => {
  it('is in the file of its name, states its purpose, and explains its options', () => {
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    const places = [`${name}.ts`, `${name}/${name}.ts`].map(
      (path) => new URL(`../../src/probes/${path}`, import.meta.url),
    );
    expect(places.filter((place) => existsSync(place))).toHaveLength(1);
    expect(probe.summary).toMatch(SENTENCE);
    expect(probe.requires.kernel).not.toBe('');
    for (const schema of Object.values(probe.options as Record<string, { description?: string }>)) {
      expect(schema.description).toMatch(SENTENCE);
    }
  });

  it('states the question that it answers, when to use it, a query, and its limits', () => {
    const { question, when, query, limits } = probe.guide;
    expect(question).toMatch(/^[A-Z][^\n?]*\?$/);
    expect(when).toMatch(SENTENCE);
    for (const limit of limits) expect(limit).toMatch(SENTENCE);
    const asked = query.match(/netsonde_\w+/g) ?? [];
    for (const series of asked) expect(isSeries(series), series).toBe(true);
    const own = Object.values(probe.metrics as MetricSet).map((metric) => metric.name);
    expect(asked.some((series) => own.includes(series.replace(/_bucket$/, '')))).toBe(true);
  });

  it('has events with names and help', () => {
    for (const [type, event] of Object.entries(probe.events as Record<string, EventDescriptor>)) {
      expect(type).toMatch(/^[a-z]+(_[a-z]+)+$/);
      expect(event.help).toMatch(SENTENCE);
      for (const [field, { help }] of Object.entries(event.fields)) {
        expect(field).toMatch(/^[a-z][a-zA-Z]*$/);
        expect(help).toMatch(SENTENCE);
      }
    }
  });
});

it.skipIf(lacks('promtool'))('the queries of all probes are PromQL', () => {
  checkPromql(PROBES.map(({ guide }) => guide.query));
});

it('every probe has its costs', () => {
  expect(PROBES.filter((probe) => costsOf(probe) === '').map(({ name }) => name)).toEqual([]);
});
