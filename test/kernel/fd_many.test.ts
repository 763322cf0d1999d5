import { expect, it } from 'vitest';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { startIn, statusOf, untilShown, usageOf } from '../support/open_files.ts';
import { Workers } from '../support/workers.ts';

it('sockets are left out, and that is reported, if there are too many descriptors to read in time', async () => {
  await using agent = await TestKernel.open(only({ fd: true }));
  await using pod = new TestPod(CGROUP_V2);
  using netns = new TestNetns();
  await using workers = await Workers.create();
  const first = await startIn(workers, netns, pod, 10_000, 5);
  await untilShown(agent, pod.uid);
  const processes = [first];
  for (let count = 0; count < 49; count++) processes.push(await first.fork());
  const { open, sockets, limitUsed } = usageOf(await agent.page(), pod.uid);
  expect(open).toBeGreaterThan(500_000);
  expect(limitUsed).toBeGreaterThan(0);
  expect(sockets).toBeUndefined();
  expect(statusOf(agent)).toMatchObject({
    state: 'degraded',
    reason: expect.stringMatching(/the sockets of \d+ Pods are not counted/),
  });
});
