import { afterAll, beforeAll, expect, it } from 'vitest';
import { sampleValue } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

const resources = new AsyncDisposableStack();
let netns: TestNetns;
let agent: TestKernel;

beforeAll(async () => {
  netns = resources.use(new TestNetns());
  agent = resources.use(await TestKernel.open());
});

afterAll(() => resources.disposeAsync());

it('softnet shows each CPU once, on the node', async () => {
  const { oracle, ours } = await readBoth(
    () => netns.exec('cat /proc/net/softnet_stat'),
    () => agent.page(),
  );
  const rows = oracle.trim().split('\n');
  const shown = ours.samples.filter(({ name }) => name === 'netsonde_softnet_processed_packets_total');
  expect(shown).toHaveLength(rows.length);
  for (const row of rows) {
    const cells = row.split(' ').map((cell) => Number.parseInt(cell, 16));
    const labels = { namespace: '', pod: '', cpu: String(cells[12]) };
    expect(sampleValue(ours, 'netsonde_softnet_processed_packets_total', labels)).toBe(cells[0]);
    expect(sampleValue(ours, 'netsonde_softnet_dropped_packets_total', labels)).toBe(cells[1]);
    expect(sampleValue(ours, 'netsonde_softnet_time_squeezed_total', labels)).toBe(cells[2]);
    expect(sampleValue(ours, 'netsonde_softnet_received_rps_total', labels)).toBe(cells[9]);
    expect(sampleValue(ours, 'netsonde_softnet_flow_limit_reached_total', labels)).toBe(cells[10]);
  }
});
