import { afterAll, beforeAll, expect, it } from 'vitest';
import { sampleValue } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';

const resources = new AsyncDisposableStack();
let netns: TestNetns;
let agent: TestKernel;

beforeAll(async () => {
  netns = resources.use(new TestNetns());
  agent = resources.use(await TestKernel.open(only({ softnet: true })));
});

afterAll(() => resources.disposeAsync());

const METRICS = [
  ['processed_packets_total', 0],
  ['dropped_packets_total', 1],
  ['time_squeezed_total', 2],
  ['received_rps_total', 9],
  ['flow_limit_reached_total', 10],
] as const;
const CPU = 12;

/** Returns one row of numbers per CPU. The counters cover the whole machine, so they change all the time. */
function rows(): number[][] {
  const lines = netns.exec('cat /proc/net/softnet_stat').trim().split('\n');
  return lines.map((line) => line.split(' ').map((cell) => Number.parseInt(cell, 16)));
}

it('softnet shows each CPU once, on the node', async () => {
  const before = rows();
  const page = await agent.page();
  const after = rows();
  const shown = page.samples.filter(({ name }) => name === 'netsonde_softnet_processed_packets_total');
  expect(shown).toHaveLength(before.length);
  for (const [index, row] of before.entries()) {
    const labels = { namespace: '', pod: '', cpu: String(row[CPU]) };
    for (const [metric, column] of METRICS) {
      const value = sampleValue(page, `netsonde_softnet_${metric}`, labels);
      expect(value, metric).toBeGreaterThanOrEqual(row[column] ?? Number.NaN);
      expect(value, metric).toBeLessThanOrEqual(after[index]?.[column] ?? Number.NaN);
    }
  }
});
