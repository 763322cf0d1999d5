import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import { defineProbe } from '#probe/contract.ts';
import type { HostPods } from '#probe/host_pods.ts';
import { defineMetrics, NO_LABELS } from '#probe/metric.ts';
import { lifecycle } from '#probes/lifecycle.ts';
import { tcp } from '#probes/tcp.ts';
import { CGROUP_V1, CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { TestKernel } from '../support/kernel.ts';
import { listenOnNode } from '../support/node_listener.ts';
import { eventually } from '../support/oracle.ts';
import { startIn } from '../support/pod_processes.ts';

const RETIRE_MS = 4_000;
const SHOWN = 'netsonde_listeners';
const CONFIG = JSON.stringify({
  probes: { tcp: true, lifecycle: { retire: `${RETIRE_MS}ms` }, listeners: true },
});

/** Returns a probe that attributes sockets of the node's namespace to Pods by their cgroups, as the flow probes do. */
function probeOf(cgroups: ReadonlySet<number>, use: (hostPods: HostPods) => void) {
  return defineProbe({
    name: 'listeners',
    kind: 'procfs',
    cost: 'low',
    enabledByDefault: false,
    summary: 'Sockets by cgroup, for a test.',
    guide: { question: '?', when: '.', query: '', limits: ['.'] },
    metrics: defineMetrics({
      listeners: {
        name: SHOWN,
        type: 'gauge',
        help: 'Sockets, for a test.',
        source: 'the test',
        scope: 'pod',
        detail: 'core',
        labels: {},
      },
    }),
    events: {},
    options: {},
    requires: { capabilities: [], kernel: 'Any.' },
    measured: {},
    open: async ({ hostPods }, sources) => {
      use(hostPods);
      return {
        health: () => ({ reader: 'test', degraded: [] }),
        collect: async (emit) => {
          await hostPods.find(cgroups);
          const node = sources.netns.node?.id;
          const subjects = [...cgroups].flatMap((id) => hostPods.subjectOf(id) ?? node ?? []);
          for (const [subject, ids] of Map.groupBy(subjects, (one) => one))
            emit('listeners', subject, ids.length, NO_LABELS);
        },
      };
    },
  });
}

describe.each([
  ['with the lists of the kernel', {}],
  ['from /proc and the mounts alone', { objects: '/nonexistent' }],
])('Pods that share the node’s namespace, %s', (_, options) => {
  const cgroups = new Set<number>();
  let agent: TestKernel;
  let hostPods: HostPods;

  beforeAll(async () => {
    const listeners = probeOf(cgroups, (found) => {
      hostPods = found;
    });
    agent = await TestKernel.open(CONFIG, { ...options, probes: [tcp, lifecycle, listeners], kubernetes: true });
    agent.kernel.labelPods({ app: 'app' });
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  const entityOf = async (uid: string): Promise<EntityStatus | undefined> =>
    (await agent.kernel.entities()).find((entity) => entity.uid === uid);
  const node = async () => (await agent.kernel.entities()).find(({ kind }) => kind === 'node');
  const shown = async (labels: Readonly<Record<string, string>>) => sampleValue(await agent.page(), SHOWN, labels);
  const namePod = (uid: string, name: string) =>
    agent.kernel.namePods({
      whole: false,
      set: [
        {
          uid,
          namespace: 'shop',
          name,
          labels: { app: 'edge' },
          workload: { kind: 'Pod', name },
          createdMs: 1,
          hostNetwork: true,
          ips: [],
        },
      ],
      deleted: [],
    });

  it('are found by the cgroups of their sockets, and named like other Pods', async () => {
    await using pod = new TestPod(CGROUP_V2);
    await using outer = await listenOnNode(pod.container);
    await using inner = await listenOnNode(pod.inner('init.scope', 'worker'));
    // The kernel uses the inode number of the cgroup's directory as the cgroup ID.
    expect(outer.cgroup).toBe(statSync(pod.container).ino);
    expect(inner.cgroup).not.toBe(outer.cgroup);
    cgroups.add(outer.cgroup).add(inner.cgroup);
    namePod(pod.uid, 'proxy');
    await eventually(async () => expect(await shown({ namespace: 'shop', pod: 'proxy', app: 'edge' })).toBe(2));
    const listed = await entityOf(pod.uid);
    const { netns } = (await node()) ?? {};
    expect(listed).toMatchObject({ kind: 'pod', namespace: 'shop', pod: 'proxy', sharesNode: true, netns, ips: [] });
    expect(await node()).toMatchObject({ sharesNode: false });
    // No other probe shows this Pod.
    const { samples } = await agent.page();
    expect(samples.filter(({ labels }) => labels['pod'] === 'proxy').map(({ name }) => name)).toEqual([SHOWN]);
    cgroups.clear();
  });

  it('are listed without any socket, when they stay', async () => {
    await using pod = new TestPod(CGROUP_V2);
    await using _process = await startIn(pod.container);
    namePod(pod.uid, 'quiet');
    await eventually(
      async () => expect(await entityOf(pod.uid)).toMatchObject({ pod: 'quiet', sharesNode: true }),
      40_000,
    );
  });

  it('are found where their processes are gone before a scan, and the cgroup is not', async () => {
    await using pod = new TestPod(CGROUP_V2);
    let cgroup: number;
    {
      await using short = await listenOnNode(pod.container);
      cgroup = short.cgroup;
    }
    await hostPods.find([cgroup]);
    const subject = hostPods.subjectOf(cgroup);
    expect(subject).toBeDefined();
    expect(await entityOf(pod.uid)).toMatchObject({ sharesNode: true });
    // A cgroup that is created in the Pod later belongs to the same Pod.
    await using later = await listenOnNode(pod.addContainer());
    await hostPods.find([later.cgroup]);
    expect(hostPods.subjectOf(later.cgroup)).toBe(subject);
  });

  it('are not the owners of sockets outside of them', async () => {
    await using outside = await listenOnNode(CGROUP_V2);
    cgroups.add(outside.cgroup);
    await hostPods.find(cgroups);
    expect(hostPods.subjectOf(outside.cgroup)).toBeUndefined();
    expect(await shown({ namespace: '', pod: '' })).toBe(1);
    cgroups.clear();
  });

  it('own the cgroups that they name after other Pods', async () => {
    await using victim = new TestPod(CGROUP_V2);
    await using pod = new TestPod(CGROUP_V2);
    await using _victim = await startIn(victim.container);
    const fake = pod.inner('kubepods', 'besteffort', `pod${victim.uid}`, 'ab'.repeat(32));
    await using listener = await listenOnNode(fake);
    await hostPods.find([listener.cgroup]);
    namePod(pod.uid, 'attacker');
    cgroups.add(listener.cgroup);
    expect(await shown({ pod: 'attacker' })).toBe(1);
    cgroups.clear();
  });

  it('are listed in cgroup v1, where their sockets are the node’s, and this is said', async () => {
    await using pod = new TestPod(CGROUP_V1);
    namePod(pod.uid, 'old');
    await using listener = await listenOnNode(pod.container);
    await eventually(
      async () => expect(await entityOf(pod.uid)).toMatchObject({ pod: 'old', sharesNode: true }),
      40_000,
    );
    await hostPods.find([listener.cgroup]);
    expect(hostPods.subjectOf(listener.cgroup)).toBeUndefined();
    expect(hostPods.degraded.join()).toMatch(
      /^the sockets of 1 of \d+ Pods .* because these Pods have no cgroup v2 directory/,
    );
  });

  it('are shown for a while after their cgroup has gone', async () => {
    let cgroup: number;
    let uid: string;
    {
      await using pod = new TestPod(CGROUP_V2);
      uid = pod.uid;
      namePod(uid, 'ended');
      await using listener = await listenOnNode(pod.container);
      cgroup = listener.cgroup;
      cgroups.add(cgroup);
      await eventually(async () => expect(await shown({ pod: 'ended' })).toBe(1));
    }
    cgroups.clear();
    const subject = hostPods.subjectOf(cgroup);
    await eventually(async () => expect(await entityOf(uid)).toBeUndefined());
    expect(await shown({ pod: 'ended' })).toBe(1);
    expect(hostPods.subjectOf(cgroup)).toBe(subject);
    await wait(RETIRE_MS);
    await eventually(async () => expect(await shown({ pod: 'ended' })).toBeUndefined());
    expect(agent.events.filter((event) => event.type === 'pod_departed' && event['uid'] === uid)).toEqual([]);
  });

  it('keep a cgroup that has gone before its Pod', async () => {
    await using pod = new TestPod(CGROUP_V2);
    const inner = join(pod.container, 'job');
    mkdirSync(inner);
    let cgroup: number;
    {
      await using listener = await listenOnNode(inner);
      cgroup = listener.cgroup;
      await hostPods.find([cgroup]);
    }
    const subject = hostPods.subjectOf(cgroup);
    expect(subject).toBeDefined();
    await eventually(() => rmdirSync(inner));
    await wait(6_000);
    await agent.page();
    await hostPods.find([cgroup]);
    expect(hostPods.subjectOf(cgroup)).toBe(subject);
  });
});
