import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import { CGROUP_V2, TestCgroups } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { Host, TestNetns, uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const CONTAINER = 'ab'.repeat(32);

function start(command: string, ...args: string[]): ChildProcess & AsyncDisposable {
  const child = spawn(command, args, { stdio: 'ignore' });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  return Object.assign(child, {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  });
}

async function entityOf(agent: TestKernel, netns: TestNetns): Promise<EntityStatus | undefined> {
  const id = String(netns.cookie);
  return (await agent.kernel.entities()).find((entity) => entity.netns === id);
}

/** Returns whether the page has any series of a Pod. */
async function isShown(agent: TestKernel, pod: string): Promise<boolean> {
  const page = await agent.page();
  return page.samples.some(({ labels }) => labels['pod'] === pod);
}

describe.each([
  ['with the list of the kernel', {}],
  ['from /proc and the mounts alone', { objects: '/nonexistent' }],
])('discovery %s', (_, options) => {
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await TestKernel.open(only({ tcp: true, udp: true, sock: true }, { detail: 'full' }), options);
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  it('sees a namespace that only a mount names, and counts in it', async () => {
    using netns = new TestNetns();
    netns.ip('link set lo up');
    await eventually(async () => expect(await entityOf(agent, netns)).toBeDefined());
    expect(await entityOf(agent, netns)).toMatchObject({ kind: 'netns', namespace: '', pod: netns.name, uid: '' });
    await eventually(async () => {
      const page = await agent.page();
      expect(sampleValue(page, 'netsonde_tcp_active_opens_total', { pod: netns.name })).toBe(0);
      // The kernel frees the agent's own sockets in the namespace asynchronously.
      expect(sampleValue(page, 'netsonde_sockets_used', { pod: netns.name })).toBe(0);
    });
  });

  it('names a namespace without a mount after its oldest process', async () => {
    await using child = start('unshare', '-n', 'sleep', '1000');
    const name = `sleep-${child.pid}`;
    await eventually(async () => {
      expect((await agent.kernel.entities()).find(({ pod }) => pod === name)).toMatchObject({ kind: 'process' });
    });
    await using second = start('nsenter', '-t', String(child.pid), '-n', 'sleep', '1000');
    await wait(1_100);
    expect(await isShown(agent, name)).toBe(true);
    expect(await isShown(agent, `sleep-${second.pid}`)).toBe(false);
  });

  it('forgets a dead namespace with the next scrape', async () => {
    const netns = new TestNetns();
    await eventually(async () => expect(await isShown(agent, netns.name)).toBe(true));
    netns[Symbol.dispose]();
    if ('objects' in options) {
      // Without the kernel's list, the agent does not notice that the namespace was removed until the next scan.
      await eventually(async () => expect(await isShown(agent, netns.name)).toBe(false));
    } else {
      expect(await isShown(agent, netns.name)).toBe(false);
    }
  });

  it('starts from zero for a namespace of the same name, though it may have the same inode number', async () => {
    const name = uniqueName('ns');
    const first = new TestNetns(name);
    {
      await using host = await Host.start(first);
      first.ip('link set lo up');
      await host.udpSend({ address: '127.0.0.1', port: 9, count: 5, bytes: 1 });
    }
    const sent = async () =>
      sampleValue(await agent.page(), 'netsonde_udp_sent_datagrams_total', { pod: name, family: 'ipv4' });
    await eventually(async () => expect(await sent()).toBe(5));
    first[Symbol.dispose]();
    using second = new TestNetns(name);
    await eventually(async () => expect(await sent()).toBe(0));
    await eventually(async () => expect((await entityOf(agent, second))?.pod).toBe(name));
  });

  it.each([
    ['cgroupfs', ['kubepods', 'besteffort', `pod${UID}`, CONTAINER], { kind: 'pod', pod: UID, uid: UID }],
    [
      'systemd',
      [`kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice`, `cri-containerd-${CONTAINER}.scope`],
      { kind: 'pod', pod: UID, uid: UID },
    ],
    ['CRI-O', [`kubepods-pod${UID.replaceAll('-', '_')}.slice`, `crio-${CONTAINER}.scope`], { kind: 'pod', uid: UID }],
    [
      'slices as folders',
      [`kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice:cri-containerd:${CONTAINER}`],
      { kind: 'pod', uid: UID },
    ],
    ['docker', [`docker-${CONTAINER}.scope`], { kind: 'container', pod: CONTAINER.slice(0, 12), uid: CONTAINER }],
  ])('names a namespace after the container of its process: %s', async (_name, segments, expected) => {
    await using cgroup = new TestCgroups(CGROUP_V2, ...segments);
    using netns = new TestNetns();
    await using host = await Host.start(netns);
    cgroup.add(host.pid);
    await eventually(async () => expect(await entityOf(agent, netns)).toMatchObject(expected));
  });

  it('shows the node once, with empty names', async () => {
    const nodes = (await agent.kernel.entities()).filter(({ kind }) => kind === 'node');
    expect(nodes).toEqual([expect.objectContaining({ namespace: '', pod: '' })]);
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_tcp_active_opens_total', { namespace: '', pod: '' })).toBeGreaterThanOrEqual(0);
  });

  it('shows the addresses of an entity', async () => {
    using netns = new TestNetns();
    netns.ip('link set lo up');
    netns.ip('addr add 10.88.0.1/32 dev lo');
    netns.ip('addr add fd88::1/128 dev lo');
    await eventually(async () => {
      expect((await entityOf(agent, netns))?.ips).toEqual(['10.88.0.1', 'fd88::1']);
    });
  });
});

it('keeps the numbers of two namespaces apart', async () => {
  await using agent = await TestKernel.open(only({ udp: true }, { detail: 'full' }));
  using quiet = new TestNetns();
  using busy = new TestNetns();
  busy.ip('link set lo up');
  await using host = await Host.start(busy);
  await host.udpSend({ address: '127.0.0.1', port: 9, count: 11, bytes: 1 });
  const sent = (page: Awaited<ReturnType<TestKernel['page']>>, pod: string) =>
    sampleValue(page, 'netsonde_udp_sent_datagrams_total', { pod, family: 'ipv4' });
  await eventually(async () => {
    const page = await agent.page();
    expect(sent(page, busy.name)).toBe(11);
    expect(sent(page, quiet.name)).toBe(0);
  });
});
