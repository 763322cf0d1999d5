import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import type { PodName } from '#pods/facts.ts';
import { CGROUP_V1, CGROUP_V2, TestCgroups, TestPod } from '../support/cgroups.ts';
import { sh } from '../support/command.ts';
import { sampleValue } from '../support/exposition.ts';
import { TestNetns, uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { startIn, startOutside } from '../support/pod_processes.ts';

/** Time for at least two scans of the machine. */
const LOOKS_MS = 2_500;

async function entityOf(agent: TestKernel, netns: TestNetns): Promise<EntityStatus | undefined> {
  const id = String(netns.id);
  return (await agent.kernel.entities()).find((entity) => entity.netns === id);
}

async function eventuallyOf(agent: TestKernel, netns: TestNetns, expected: object): Promise<void> {
  await eventually(async () => expect(await entityOf(agent, netns)).toMatchObject(expected));
}

/**
 * Waits until the page shows this number of datagrams to closed ports. The check is retried, because a page lacks the
 * samples of a probe that took too long.
 */
async function eventuallyDropped(agent: TestKernel, pod: string, count: number): Promise<void> {
  await eventually(async () => {
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_udp_no_port_total', { pod, family: 'ipv4' })).toBe(count);
  });
}

function podName(uid: string, name: string, hostNetwork = false): PodName {
  const workload = { kind: 'Pod', name };
  return { uid, namespace: 'shop', name, labels: {}, workload, createdMs: 1, hostNetwork, ips: [] };
}

/** Sends datagrams to a port on which no socket listens. */
function dropIn(netns: TestNetns, count: number): void {
  netns.ip('link set lo up');
  netns.python(`
import socket
for _ in range(${count}):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b'x', ('127.0.0.1', 9))
`);
}

describe.concurrent.each([
  ['with the lists of the kernel', {}],
  ['from /proc and the mounts alone', { objects: '/nonexistent' }],
])('the owner of a namespace, %s', (_, options) => {
  const open = (given = {}) =>
    TestKernel.open(only({ udp: true, lifecycle: true }, { detail: 'full' }), { ...options, ...given });
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await open();
  });
  afterAll(() => agent[Symbol.asyncDispose]());
  const departed = (...pods: readonly TestPod[]) =>
    agent.events.filter(({ type, uid }) => type === 'pod_departed' && pods.some((pod) => pod.uid === uid));

  it('another Pod that used the namespace before the Pod’s first process is forgotten', async () => {
    await using plugin = new TestPod(CGROUP_V1);
    await using pod = new TestPod(CGROUP_V2);
    using home = new TestNetns();
    using fresh = new TestNetns();
    await using _plugin = await startIn(plugin.container, home);
    await eventuallyOf(agent, home, { uid: plugin.uid });
    await using _guest = await startIn(plugin.container, fresh);
    await wait(300);
    await using _first = await startIn(pod.container, fresh);
    await eventuallyOf(agent, fresh, { kind: 'pod', uid: pod.uid });
    await wait(LOOKS_MS);
    expect(await entityOf(agent, fresh)).toMatchObject({ uid: pod.uid });
    expect(await entityOf(agent, home)).toMatchObject({ uid: plugin.uid });
    expect(departed(plugin, pod)).toEqual([]);
    // A restarted agent must find the same owners, although it sees both processes at once and the plugin's is the
    // older one.
    await using later = await open();
    await eventuallyOf(later, fresh, { kind: 'pod', uid: pod.uid });
    await eventuallyOf(later, home, { kind: 'pod', uid: plugin.uid });
  });

  it('a namespace with processes takes precedence over one that is only mounted', async () => {
    await using pod = new TestPod(CGROUP_V2);
    using first = new TestNetns();
    using second = new TestNetns();
    {
      await using _gone = await startIn(pod.container, first);
      await eventuallyOf(agent, first, { uid: pod.uid });
    }
    dropIn(second, 3);
    await using _lives = await startIn(pod.container, second);
    await eventuallyOf(agent, second, { uid: pod.uid });
    const shown = async () =>
      sampleValue(await agent.page(), 'netsonde_udp_no_port_total', { pod: pod.uid, family: 'ipv4' });
    await eventually(async () => expect(await shown()).toBe(3));
    await wait(LOOKS_MS);
    expect(await entityOf(agent, first)).toMatchObject({ uid: pod.uid });
    await eventually(async () => expect(await shown()).toBe(3));
    expect(departed(pod)).toEqual([]);
  });

  it('a Docker container in a Pod, with its own namespace, belongs to the Pod, whose own namespace is shown', async () => {
    await using pod = new TestPod(CGROUP_V2);
    using own = new TestNetns();
    using inner = new TestNetns();
    dropIn(own, 2);
    dropIn(inner, 5);
    await using _own = await startIn(pod.container, own);
    await using _inner = await startIn(pod.inner('docker', 'cd'.repeat(32)), inner);
    await eventuallyOf(agent, own, { kind: 'pod', uid: pod.uid });
    await eventuallyOf(agent, inner, { kind: 'pod', uid: pod.uid });
    await eventuallyDropped(agent, pod.uid, 2);
  });

  it('a look-alike of another Pod’s cgroup, inside a Pod’s own cgroup, belongs to that Pod', async () => {
    await using victim = new TestPod(CGROUP_V1);
    await using attacker = new TestPod(CGROUP_V2);
    using own = new TestNetns();
    using other = new TestNetns();
    await using _attacker = await startIn(attacker.inner(`pod${victim.uid}`, 'ab'.repeat(32)), other);
    await using _deeper = await startIn(
      attacker.inner('kubepods', 'burstable', `pod${victim.uid}`, 'cd'.repeat(32)),
      other,
    );
    await using _victim = await startIn(victim.container, own);
    await eventuallyOf(agent, own, { kind: 'pod', uid: victim.uid });
    await eventuallyOf(agent, other, { kind: 'pod', uid: attacker.uid });
    dropIn(other, 4);
    await using restarted = await open();
    await eventuallyOf(restarted, own, { kind: 'pod', uid: victim.uid });
    await eventuallyOf(restarted, other, { kind: 'pod', uid: attacker.uid });
    await eventuallyDropped(restarted, attacker.uid, 4);
    await eventuallyDropped(restarted, victim.uid, 0);
  });

  it.each([
    ['v1', CGROUP_V1],
    ['v2', CGROUP_V2],
  ])('a process 300 cgroups below its container, of %s, belongs to its Pod', async (_version, hierarchy) => {
    await using pod = new TestPod(hierarchy);
    using netns = new TestNetns();
    const deep = pod.inner(...new Array<string>(300).fill('a'));
    await using _process = await startIn(deep, netns);
    await eventuallyOf(agent, netns, { kind: 'pod', uid: pod.uid });
  });

  it('a Pod that Kubernetes does not know yet is shown by its UID, even if a plugin was there before', async () => {
    await using knowing = await open({ kubernetes: true });
    const mount = `cni-${randomUUID()}`;
    using netns = new TestNetns(mount);
    const folder = join(tmpdir(), uniqueName('loopback'));
    mkdirSync(folder);
    copyFileSync('/bin/sleep', join(folder, 'loopback'));
    {
      await using _plugin = await startOutside(netns, join(folder, 'loopback'), ['1000']);
      await eventuallyOf(knowing, netns, { pod: mount });
      await using pod = new TestPod(CGROUP_V2);
      await using process = await startOutside(netns, 'sleep', ['1000']);
      // The process calls no execve() after it joins the Pod, so nothing triggers a scan.
      pod.add(process.pid);
      await eventuallyOf(knowing, netns, { kind: 'pod', namespace: '', pod: pod.uid, uid: pod.uid });
    }
    rmSync(folder, { recursive: true });
  });

  it.each([
    ['a Pod that Kubernetes reports', true, true],
    ['a Pod that Kubernetes does not report', true, false],
    ['a container', false, false],
  ])(
    'namespaces that %s with the node’s network makes by `ip netns` are named after their mounts',
    async (_name, isPod, isKnown) => {
      await using stack = new AsyncDisposableStack();
      const pod = stack.use(new TestPod(CGROUP_V2));
      const container = isPod ? pod.container : stack.use(new TestCgroups(CGROUP_V2, 'docker', 'ef'.repeat(32))).path;
      stack.use(await startIn(container));
      const routers = [1, 2, 3].map(() => stack.use(new TestNetns()));
      for (const [index, router] of routers.entries()) {
        dropIn(router, 10 * (index + 1));
        stack.use(await startIn(container, router));
      }
      const restarted = stack.use(await open({ kubernetes: isKnown }));
      if (isKnown) restarted.kernel.namePods({ whole: true, set: [podName(pod.uid, 'l3-agent', true)], deleted: [] });
      for (const router of routers) await eventuallyOf(restarted, router, { kind: 'netns', pod: router.name, uid: '' });
      for (const [index, { name }] of routers.entries()) await eventuallyDropped(restarted, name, 10 * (index + 1));
      // A namespace that appears while the agent runs has the correct owner after at most one scan.
      const late = stack.use(new TestNetns());
      stack.use(await startIn(container, late));
      await eventuallyOf(restarted, late, { kind: 'netns', pod: late.name });
    },
  );

  it('a namespace that is mounted under a second name keeps the first', async () => {
    using netns = new TestNetns(uniqueName('n-'));
    dropIn(netns, 6);
    await eventuallyOf(agent, netns, { pod: netns.name });
    // One name sorts before the name of the namespace, and the other name sorts after it.
    const others = [uniqueName('a-'), uniqueName('z-')];
    for (const other of others) {
      writeFileSync(`/run/netns/${other}`, '');
      sh(`mount --bind ${netns.path} /run/netns/${other}`);
    }
    try {
      await wait(LOOKS_MS);
      expect(await entityOf(agent, netns)).toMatchObject({ pod: netns.name });
      await eventuallyDropped(agent, netns.name, 6);
      const page = await agent.page();
      for (const other of others) expect(page.samples.some(({ labels }) => labels['pod'] === other)).toBe(false);
    } finally {
      for (const other of others) sh(`ip netns del ${other}`);
    }
  });

  it('a Kata machine, which runs beside the Pods’ cgroups, belongs to its Pod', async () => {
    await using pod = new TestPod(CGROUP_V2);
    const sandbox = pod.container.split('/').at(-1) ?? '';
    await using overhead = new TestCgroups(CGROUP_V2, 'kata_overhead', sandbox);
    using netns = new TestNetns();
    await using _machine = await startIn(overhead.path, netns);
    await eventuallyOf(agent, netns, { kind: 'pod', uid: pod.uid });
  });
});

describe('several namespaces of one Pod', () => {
  it('the Pod’s own namespace is shown, even if a later one has an older process', async () => {
    await using pod = new TestPod(CGROUP_V2);
    using own = new TestNetns();
    using child = new TestNetns();
    dropIn(own, 7);
    await using _older = await startIn(pod.container, child);
    await wait(100);
    await using _younger = await startIn(pod.container, own);
    await using agent = await TestKernel.open(only({ udp: true }, { detail: 'full' }));
    await eventuallyOf(agent, own, { uid: pod.uid });
    await eventuallyOf(agent, child, { uid: pod.uid });
    await eventuallyDropped(agent, pod.uid, 7);
  });

  it('all share its events and filters, and the Pod ends only with its own namespace', async () => {
    await using pod = new TestPod(CGROUP_V2);
    await using other = new TestPod(CGROUP_V2);
    const pods = { namespaces: ['shop'], names: ['db*'] };
    await using agent = await TestKernel.open(only({ packetloss: { pods }, lifecycle: { retire: '1m' } }), {
      kubernetes: true,
    });
    agent.kernel.namePods({ whole: true, set: [podName(pod.uid, 'db-0'), podName(other.uid, 'web')], deleted: [] });
    using stranger = new TestNetns();
    const own = new TestNetns();
    {
      using second = new TestNetns();
      await using _first = await startIn(pod.container, own);
      await using _inner = await startIn(pod.container, second);
      await using _stranger = await startIn(other.container, stranger);
      for (const netns of [own, second]) await eventuallyOf(agent, netns, { namespace: 'shop', pod: 'db-0' });
      await eventuallyOf(agent, stranger, { pod: 'web' });
      for (const netns of [own, second, stranger]) dropIn(netns, 2);
      const drops = () => agent.events.filter(({ type }) => type === 'packet_drop');
      await eventually(() => expect(drops()).toHaveLength(4));
      expect(new Set(drops().map(({ pod: name, netns }) => `${name} ${netns}`))).toEqual(
        new Set([`db-0 ${own.id}`, `db-0 ${second.id}`]),
      );
    }
    const ends = () => agent.events.filter(({ type, pod: name }) => type === 'pod_departed' && name === 'db-0');
    await wait(LOOKS_MS);
    expect(ends()).toEqual([]);
    const netns = String(own.id);
    own[Symbol.dispose]();
    await eventually(() => expect(ends()).toMatchObject([{ uid: pod.uid, netns }]));
  });
});
