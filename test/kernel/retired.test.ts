import { expect, it } from 'vitest';
import { RETIRED_MIN } from '#pods/retired.ts';
import { LOST, liveAndDie } from '../support/dying_netns.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const DEAD = 60;
const LOSES_EVERY = 20;
const LOSERS = Array.from({ length: DEAD / LOSES_EVERY }, (_, index) => index * LOSES_EVERY);

function deadOf(page: Exposition, prefix: string): number[] {
  const pods = new Set(page.samples.map(({ labels }) => labels['pod'] ?? ''));
  return [...pods].filter((pod) => pod.startsWith(prefix)).map((pod) => Number(pod.slice(prefix.length)));
}

function dropsOf(page: Exposition, pod: string): number {
  const drops = page.samples.filter(
    ({ name, labels }) => name === 'netsonde_packet_drops_total' && labels['pod'] === pod,
  );
  return drops.reduce((sum, { value }) => sum + Number(value), 0);
}

const total = (page: Exposition, name: string) => Number(sampleValue(page, `netsonde_entities_${name}_total`, {}));

it.each([
  ['without Kubernetes', false],
  ['in Kubernetes', true],
])('%s dead namespaces take no more than their share, and those that lost packets are shown', async (_, kubernetes) => {
  await using agent = await TestKernel.open(only({ packetloss: true, udp: true, lifecycle: { share: 0 } }), {
    kubernetes,
  });
  const prefix = uniqueName('dead');
  await liveAndDie({ prefix, count: DEAD, losesEvery: LOSES_EVERY, lifeSeconds: 4, rate: 100 });
  const page = await eventually(async () => {
    const now = await agent.page();
    // All namespaces of this test have been removed and counted. Namespaces of other tests may add to the count.
    expect(total(now, 'retired_dropped') + total(now, 'retired_passed_over')).toBeGreaterThanOrEqual(
      DEAD - RETIRED_MIN,
    );
    return now;
  });
  const shown = deadOf(page, prefix);
  const lost = shown.filter((index) => LOSERS.includes(index));
  expect(lost.length).toBeGreaterThan(0);
  for (const index of lost) expect(dropsOf(page, `${prefix}${index}`)).toBe(LOST);
  // Namespaces of other tests that lost packets more recently may replace those of this test. In that case, no
  // namespace without losses is shown.
  if (shown.length > lost.length) expect(lost.toSorted((a, b) => a - b)).toEqual(LOSERS);
  expect(shown.length).toBeLessThanOrEqual(RETIRED_MIN);
  if (kubernetes) expect(shown).toEqual(lost);
});
