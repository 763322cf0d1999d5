import { expect, it } from 'vitest';
import { CGROUP_V1, TestPod } from '../support/cgroups.ts';
import type { Exposition } from '../support/exposition.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { NamespaceFlood } from '../support/namespace_flood.ts';
import { eventually } from '../support/oracle.ts';
import { FreesOracle } from '../support/orderly/frees.ts';

const NAMESPACES = 60;
const ROUNDS = 5;
const ROWS = ['netsonde_packet_drops_total', 'netsonde_packet_discards_total'];
const NOT_SHOWN = ['netsonde_probe_departed_total', 'netsonde_probe_waiting'];

/**
 * Returns the number of packets that were counted for the Pod, for unlisted namespaces, and outside any row. Other
 * tests on this machine can only increase it.
 */
function sumOf({ samples }: Exposition, pod: string): number {
  return samples
    .filter(
      ({ name, labels }) =>
        (ROWS.includes(name) && [pod, 'unlisted'].includes(labels['pod'] ?? '')) ||
        (NOT_SHOWN.includes(name) && labels['probe'] === 'packetloss'),
    )
    .reduce((sum, { value }) => sum + Number(value), 0);
}

it('counts every packet of a Pod that makes namespaces, leaves them and dies', async () => {
  await using pod = new TestPod(CGROUP_V1);
  using oracle = await FreesOracle.open([255, 255]);
  await using agent = await TestKernel.open(only({ packetloss: {}, lifecycle: { retire: '2s' } }));
  const before = sumOf(await agent.page(), pod.uid);
  let freed = 0;
  {
    await using flood = await NamespaceFlood.make(NAMESPACES, pod.container, false);
    for (let round = 0; round < ROUNDS; round++) {
      await flood.lose();
      await agent.page();
    }
    // The kernel discards the unread data of a closed socket asynchronously.
    await eventually(() => {
      freed = [...oracle.read(flood.inums).values()].reduce((sum, { count }) => sum + count, 0);
      expect(freed).toBeGreaterThanOrEqual(2 * ROUNDS * NAMESPACES);
    });
  }
  const after = async () => sumOf(await agent.page(), pod.uid) - before;
  expect(await after()).toBeGreaterThanOrEqual(freed);
  // The rows of the removed namespaces disappear asynchronously.
  await eventually(async () => {
    expect(await after()).toBeGreaterThanOrEqual(freed);
    const departed = (await agent.page()).samples.find(
      ({ name, labels }) => name === 'netsonde_probe_departed_total' && labels['probe'] === 'packetloss',
    );
    expect(Number(departed?.value)).toBeGreaterThan(0);
  });
  expect(await after()).toBeGreaterThanOrEqual(freed);
});
