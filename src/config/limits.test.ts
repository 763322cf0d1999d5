import { expect, it } from 'vitest';
import { desiredKernel } from '#agent/desired_kernel.ts';
import { PROBES } from '#probes/index.ts';
import { ConfigReader } from './load.ts';

const reader = new ConfigReader(PROBES);

/** Number of series of a Pod with `detail: full`, from docs/scale.md. */
const POD_SERIES = 272;

it('a page may have the series of 500 Pods with every metric by default', () => {
  const { limits, document } = reader.parse('limits:');
  expect(limits.series).toBeGreaterThan(500 * POD_SERIES);
  expect(document['limits']).toEqual({ series: limits.series });
});

it('the kernel thread gets the limit', () => {
  expect(desiredKernel(reader.parse('limits: { series: 5000 }')).series).toBe(5_000);
});

it('the interval of scrapes is in milliseconds', () => {
  expect(reader.parse('limits: { scrapeInterval: 30s }').limits.scrapeInterval).toBe(30_000);
});

it.each([
  ['limits: { series: 10 }', /^limits\.series: 10 .*1000/],
  ['limits: { series: many }', /^limits\.series: "many"/],
  [
    'limits: { serie: 5000 }',
    /^limits\.serie: unknown key \(did you mean series\?\); valid keys: series, scrapeInterval$/,
  ],
  ['limits: { scrapeInterval: 5m }', /^limits\.scrapeInterval: "5m" .*1s to 2m/],
])('%s is a fault that names what is allowed', (text, fault) => {
  expect(() => reader.parse(text)).toThrow(fault);
});
