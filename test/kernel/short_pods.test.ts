import { expect, it } from 'vitest';
import { CGROUP_V2, makePods } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { liveShortly } from '../support/short_pods.ts';

const COUNT = 40;
const AT_ONCE = 4;

it('without the probe `lifecycle`, events still name Pods that live for milliseconds, and only the last counters are not shown', async () => {
  // All unlisted Pods share one event limit, so it must be high.
  await using agent = await TestKernel.open(only({ packetloss: { limit: 10_000 } }, { detail: 'full' }));
  await using stack = new AsyncDisposableStack();
  const pods = await makePods(stack, CGROUP_V2, COUNT);
  // If all Pods started at once while the agent had no CPU time, their events could exceed the share of the ring that
  // is reserved for unlisted Pods.
  for (let first = 0; first < COUNT; first += AT_ONCE) await liveShortly(pods.slice(first, first + AT_ONCE));
  await eventually(() => {
    const named = new Set(agent.events.filter(({ type }) => type === 'packet_drop').map(({ pod }) => pod));
    expect(pods.filter(({ uid }) => !named.has(uid))).toEqual([]);
  });
  expect(agent.events.filter(({ type }) => type === 'pod_departed')).toEqual([]);
  const page = await agent.page();
  expect(sampleValue(page, 'netsonde_entities_retired', {})).toBe(0);
  expect(sampleValue(page, 'netsonde_departures_total', { counters: 'exact' })).toBeUndefined();
});
