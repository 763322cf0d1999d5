import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import type { MetricDescriptor } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { parseExposition } from '../support/exposition.ts';
import { TestKernel } from '../support/kernel.ts';
import { lacks } from '../support/programs.ts';
import { promtool } from '../support/promtool.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

const GOLDEN = fixture('metrics.golden.txt');
/** Metrics whose values differ between runs. */
const TIMES = /netsonde_(probe_collect|scrape)_seconds/;

/** Enables every probe that this machine's kernel supports, with full detail. */
const CONFIG = `
detail: full
probes:
  tcpext: { fields: all }
  netdev: { loopback: true }
  ipvs: true
  rdma: true
  conntrack: false
  tcpsummary: false
  fd: true
  io: true
  qdisc: false
  changes: false
  packetloss: false
`;

let page: string;

beforeAll(async () => {
  await using agent = await TestKernel.open(CONFIG, {
    paths: { proc: fixture('proc'), sys: fixture('sys'), cgroup: fixture('cgroup'), netns: fixture('netns') },
    objects: fixture('no-objects'),
  });
  const lines = (await agent.text()).split('\n');
  page = lines.filter((line) => !TIMES.test(line)).join('\n');
});

it('the page over the fixture tree is the golden one (npm run golden writes it)', () => {
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(GOLDEN, page);
  expect(page).toBe(readFileSync(GOLDEN, 'utf8'));
});

it.skipIf(lacks('promtool'))('promtool finds no error in the golden page', () => {
  expect(promtool('check', 'metrics', readFileSync(GOLDEN, 'utf8'))).toBe('');
});

it('no two samples have the same labels', () => {
  const { samples } = parseExposition(page);
  const keys = samples.map(({ name, labels }) => `${name}${JSON.stringify(Object.entries(labels).sort())}`);
  expect(new Set(keys).size).toBe(keys.length);
});

it('every metric of a Pod has different values for two Pods', () => {
  const [one, two] = ['3f2a9c1e-7d54-4b0e-9a6b-0c1d2e3f4a5b', 'facade222222'];
  const { samples } = parseExposition(page);
  const valuesOf = (pod: string | undefined, name: string) =>
    samples.filter((sample) => sample.labels['pod'] === pod && sample.name === name).map(({ value }) => value);
  const shown = PROBES.flatMap(({ metrics }) => Object.values<MetricDescriptor>(metrics)).filter(
    ({ scope, name }) => scope === 'pod' && samples.some((sample) => sample.name === name),
  );
  expect(shown.length).toBeGreaterThan(150);
  for (const { name } of shown) {
    const [ofOne, ofTwo] = [valuesOf(one, name), valuesOf(two, name)];
    expect(ofOne.length, name).toBeGreaterThan(0);
    expect(ofTwo, name).not.toEqual(ofOne);
  }
});
