import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import type { EntityKind } from '#api/words.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import type { NetnsOwner } from '#pods/entity.ts';
import { ProcessGroups } from '#pods/process_groups.ts';
import { SourceErrors } from '#sources/errors.ts';
import type { ProcessList } from '#sources/processes.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { CGROUP_V1, CGROUP_V2, TestCgroups, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { type Worker, Workers } from '../support/workers.ts';

const directory = mkdtempSync(join(tmpdir(), 'groups-'));
const NO_CGROUPS = join(directory, 'cgroup');

afterAll(() => rmSync(directory, { recursive: true }));

function owner(netns: TestNetns, kind: EntityKind, uid: string, ...processes: readonly Worker[]): NetnsOwner {
  const { inum, name } = netns;
  return {
    entity: { kind, netns: asNetnsId(inum), inum, namespace: '', pod: name, uid, labels: {} },
    pids: processes.map(({ pid }) => pid),
  };
}

function list(owners: readonly NetnsOwner[], paths: Partial<Paths> = {}): Promise<ProcessList> {
  return new ProcessGroups({ ...DEFAULT_PATHS, ...paths }, () => owners, new SourceErrors()).list(freeCycle());
}

/** Returns the processes of each group, by the key of the group. */
async function pidsOf(owners: readonly NetnsOwner[], paths: Partial<Paths> = {}): Promise<Record<string, number[]>> {
  const { groups, degraded } = await list(owners, paths);
  expect(degraded).toEqual([]);
  return Object.fromEntries(groups.map(({ key, pids }) => [key, sorted(pids)]));
}

function sorted(pids: readonly number[]): number[] {
  return [...pids].sort((a, b) => a - b);
}

function pids(...workers: readonly Worker[]): number[] {
  return sorted(workers.map(({ pid }) => pid));
}

function keyOf({ inum }: TestNetns): string {
  return `netns ${inum}`;
}

describe.each([
  ['cgroup v1', CGROUP_V1, DEFAULT_PATHS.cgroup],
  ['cgroup v2', CGROUP_V2, DEFAULT_PATHS.cgroup],
  ['cgroup v2 alone', CGROUP_V2, CGROUP_V2],
  ['a tree that is mounted elsewhere', CGROUP_V1, '/proc/self/root/sys/fs/cgroup'],
])('processes by %s', (_, hierarchy, cgroup) => {
  it('belong to their Pod, in whatever namespace, and otherwise to their namespace', async () => {
    await using pod = new TestPod(hierarchy);
    using netns = new TestNetns();
    using other = new TestNetns();
    await using workers = await Workers.create();
    const inside = await workers.start(netns);
    const guest = await workers.start(other);
    const outside = await workers.start(other);
    const visitor = await workers.start(netns);
    for (const { pid } of [inside, guest]) pod.add(pid);
    const owners = [owner(other, 'netns', '', outside), owner(netns, 'pod', pod.uid, visitor, inside)];
    expect(await pidsOf(owners, { cgroup })).toEqual({
      [pod.uid]: pids(inside, guest),
      [keyOf(other)]: pids(outside),
    });
  });

  it('belong to the Pod, even those of containers inside one of its containers', async () => {
    await using pod = new TestPod(hierarchy);
    using netns = new TestNetns();
    using innerNetns = new TestNetns();
    await using workers = await Workers.create();
    const outer = await workers.start(netns);
    const inner = await workers.start(innerNetns);
    pod.add(outer.pid);
    pod.add(inner.pid, pod.inner(randomBytes(32).toString('hex')));
    const owners = [owner(netns, 'pod', pod.uid, outer), owner(innerNetns, 'pod', pod.uid, inner)];
    expect(await pidsOf(owners, { cgroup })).toEqual({ [pod.uid]: pids(outer, inner) });
    expect(await pidsOf(owners.slice(0, 1), { cgroup })).toEqual({ [pod.uid]: pids(outer, inner) });
  });

  it('of a Pod with two namespaces form one group', async () => {
    await using pod = new TestPod(hierarchy);
    using first = new TestNetns();
    using second = new TestNetns();
    await using workers = await Workers.create();
    const a = await workers.start(first);
    const b = await workers.start(second);
    for (const { pid } of [a, b]) pod.add(pid);
    const { groups } = await list([owner(first, 'pod', pod.uid, a), owner(second, 'pod', pod.uid, b)], { cgroup });
    expect(groups.map(({ key, netns }) => [key, netns])).toEqual([[pod.uid, [first.inum, second.inum]]]);
    expect(sorted(groups[0]?.pids ?? [])).toEqual(pids(a, b));
  });
});

it('a threaded cgroup hides no process', async () => {
  await using pod = new TestPod(CGROUP_V2);
  using netns = new TestNetns();
  await using workers = await Workers.create();
  const worker = await workers.start(netns);
  pod.add(worker.pid);
  writeFileSync(join(pod.inner('threads'), 'cgroup.type'), 'threaded');
  expect(await pidsOf([owner(netns, 'pod', pod.uid, worker)])).toEqual({ [pod.uid]: pids(worker) });
});

it('missing cgroups are reported, and the namespace’s processes are counted instead', async () => {
  await using pod = new TestPod(CGROUP_V2);
  using netns = new TestNetns();
  await using workers = await Workers.create();
  const inside = await workers.start(netns);
  const visitor = await workers.start(netns);
  pod.add(inside.pid);
  const { groups, degraded } = await list([owner(netns, 'pod', pod.uid, inside)], { cgroup: NO_CGROUPS });
  expect(sorted(groups[0]?.pids ?? [])).toEqual(pids(inside, visitor));
  expect(degraded).toEqual([
    expect.stringContaining(`the cgroups of 1 of 1 Pods and containers are not below ${NO_CGROUPS}`),
  ]);
});

it('a Pod that has gone has no processes, and that is no error', async () => {
  await using pod = new TestPod(CGROUP_V2);
  using netns = new TestNetns();
  await using workers = await Workers.create();
  const worker = await workers.start(netns);
  pod.add(worker.pid);
  const groups = new ProcessGroups(DEFAULT_PATHS, () => [owner(netns, 'pod', pod.uid, worker)], new SourceErrors());
  const read = async () => {
    const { groups: found, degraded } = await groups.list(freeCycle());
    return { pids: found.map((group) => group.pids), degraded };
  };
  expect(await read()).toEqual({ pids: [[worker.pid]], degraded: [] });
  await workers[Symbol.asyncDispose]();
  expect(await read()).toEqual({ pids: [[]], degraded: [] });
  await pod[Symbol.asyncDispose]();
  expect(await read()).toEqual({ pids: [[]], degraded: [] });
});

describe('an agent with its own namespaces', () => {
  async function serve(wrapper: readonly string[]): Promise<AgentProcess> {
    const config = join(directory, 'config.yaml');
    writeFileSync(config, only({ fd: true }));
    return AgentProcess.serve(['--config', config], wrapper);
  }

  async function statusOf(agent: AgentProcess): Promise<ProbeStatus | undefined> {
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    return probes.find(({ name }) => name === 'fd');
  }

  /** More files than a worker has open when it starts. */
  const FILES = 100;

  async function open(agent: AgentProcess, pod: string): Promise<number> {
    const value = sampleValue(await agent.page(), 'netsonde_open_file_descriptors', { pod });
    if (value === undefined) throw new Error('the Pod is not shown');
    return value;
  }

  it.each([
    ['v1', CGROUP_V1],
    ['v2', CGROUP_V2],
  ])('of cgroups searches for the cgroups of Pods, because it cannot derive their paths: %s', async (_, hierarchy) => {
    await using pod = new TestPod(hierarchy);
    await using home = new TestCgroups(hierarchy, 'agent');
    using netns = new TestNetns();
    using other = new TestNetns();
    await using workers = await Workers.create();
    const inside = await workers.start(netns);
    const guest = await workers.start(other);
    await guest.files(FILES);
    for (const { pid } of [inside, guest]) pod.add(pid);
    await using agent = await serve(['sh', '-c', `echo $$ >${home.path}/cgroup.procs; exec unshare -C "$@"`, 'sh']);
    // The visiting process belongs to the Pod only by its cgroup.
    await eventually(async () => expect(await open(agent, pod.uid)).toBeGreaterThan(FILES));
    expect(await statusOf(agent)).toMatchObject({ state: 'running', reason: '' });
  });

  it('of processes does not mistake one process for another', async () => {
    await using pod = new TestPod(CGROUP_V1);
    using netns = new TestNetns();
    await using workers = await Workers.create();
    const inside = await workers.start(netns);
    await inside.files(FILES);
    pod.add(inside.pid);
    await using agent = await serve(['unshare', '-p', '-f', '--kill-child']);
    await eventually(async () => expect(await open(agent, pod.uid)).toBeGreaterThan(FILES));
    expect(await statusOf(agent)).toMatchObject({
      state: 'degraded',
      reason: expect.stringContaining('number processes differently from /proc (hostPID is missing)'),
    });
  });
});
