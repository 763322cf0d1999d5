import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { type ProcessTable, readProcessFiles, readProcessWalk } from '#pods/process_table.ts';
import { type NetnsObject, openNetnsObject } from '#sources/bpf/netns_object.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { CGROUP_V1, CGROUP_V2, TestCgroups, TestPod } from '../support/cgroups.ts';
import { Host, TestNetns } from '../support/hosts.ts';
import { OBJECTS } from '../support/kernel.ts';
import { eventually, readBoth } from '../support/oracle.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const CONTAINER = 'ab'.repeat(32);
const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
const INNER = 'cd'.repeat(32);
const SLICE = `kubepods-besteffort-pod${UID.replaceAll('-', '_')}.slice`;
const POD = { podUid: UID, containerId: CONTAINER };
const NODE_IN_CONTAINER = fileURLToPath(new URL('../support/node_in_container.ts', import.meta.url));
const TASKS = fileURLToPath(new URL('../support/tasks.ts', import.meta.url));

let lists: NetnsObject;
beforeAll(async () => {
  lists = await openNetnsObject(new BpfSource(OBJECTS, '/sys'), 0);
});
afterAll(() => lists[Symbol.dispose]());

function readWalk(node?: NetnsId): Promise<ProcessTable> {
  if (lists.tasks === undefined) throw new Error(lists.reason);
  return readProcessWalk(lists.tasks, node, freeCycle());
}

const HUNDREDTH = 100;

/** Returns the fields on which both readers must agree. @param only processes to include; undefined for all */
function facts(table: ProcessTable, only?: readonly number[]): unknown[] {
  const all = table.namespaces.flatMap(({ inum, pids }) =>
    pids.map((pid) => {
      const info = table.info(pid);
      // In /proc, start times have a resolution of 10 ms.
      const start = info && Math.floor(info.startSeconds * HUNDREDTH + 1e-6);
      return { pid, inum, ...(only === undefined ? {} : { comm: info?.comm, start, container: info?.container() }) };
    }),
  );
  return all.filter(({ pid }) => only?.includes(pid) ?? true).sort((a, b) => a.pid - b.pid);
}

it('sees the same processes in the same namespaces as /proc, and those that /proc hides', async () => {
  using netns = new TestNetns();
  await using host = await Host.start(netns);
  const { oracle, ours } = await readBoth(
    async () => {
      const table = await readProcessFiles('/proc', freeCycle());
      return { facts: facts(table), unreadable: table.unreadable };
    },
    async () => facts(await readWalk()),
  );
  expect(oracle.facts).toContainEqual({ pid: host.pid, inum: netns.inum });
  expect(ours).toEqual(expect.arrayContaining(oracle.facts));
  expect(ours).toHaveLength(oracle.facts.length + oracle.unreadable);
});

describe.each([
  ['v1', CGROUP_V1],
  ['v2', CGROUP_V2],
])('in a cgroup %s', (_, hierarchy) => {
  it.each<[string, string[], object | undefined]>([
    ['cgroupfs', ['kubepods', 'besteffort', `pod${UID}`, CONTAINER], { podUid: UID, containerId: CONTAINER }],
    ['systemd', [SLICE, `cri-containerd-${CONTAINER}.scope`], { podUid: UID, containerId: CONTAINER }],
    ['below the container', [`pod${UID}`, CONTAINER, 'init.scope', 'a', 'b'], { podUid: UID, containerId: CONTAINER }],
    ['a container in a container', [`pod${UID}`, CONTAINER, 'docker', INNER], { podUid: UID, containerId: CONTAINER }],
    ['a container in a container without a Pod', ['docker', CONTAINER, 'docker', INNER], { containerId: CONTAINER }],
    ['a look-alike', [`pod${UID}`, CONTAINER, `pod${OTHER}`, INNER], { podUid: UID, containerId: CONTAINER }],
    [
      'a whole look-alike',
      ['kubepods', `pod${UID}`, CONTAINER, 'kubepods', 'burstable', `pod${OTHER}`, INNER],
      { podUid: UID, containerId: CONTAINER },
    ],
    ['a look-alike right in the Pod', [`pod${UID}`, `pod${OTHER}`, INNER], { podUid: UID, containerId: INNER }],
    [
      'three nested Pods',
      [`pod${UID}`, CONTAINER, `pod${OTHER}`, INNER, `pod${'0a'.repeat(16)}`, '12'.repeat(32)],
      { podUid: UID, containerId: CONTAINER },
    ],
    ['slices as folders', ['containerd.service', `${SLICE}:cri-containerd:${CONTAINER}`], POD],
    ['slices as folders, and below', [`${SLICE}:crio:${CONTAINER}`, 'docker', INNER], POD],
    ['slices as folders without a Pod', [`system.slice:docker:${CONTAINER}`], { containerId: CONTAINER }],
    ['Kata in the Pod', ['kubepods', `pod${UID}`, `kata_${CONTAINER}`], POD],
    ['Kata outside', ['kata_overhead', CONTAINER], { containerId: CONTAINER }],
    [
      'a Pod in a container',
      ['docker', CONTAINER, 'kubelet', 'kubepods', `pod${UID}`, INNER],
      { podUid: UID, containerId: INNER, within: CONTAINER },
    ],
    [
      'a Pod in a container in a container',
      [`docker-${CONTAINER}.scope`, 'docker', INNER, `pod${UID}`, '12'.repeat(32)],
      { podUid: UID, containerId: '12'.repeat(32), within: CONTAINER },
    ],
    [
      'podman',
      ['machine.slice', `machine-libpod_pod_${INNER}.slice`, `libpod-${CONTAINER}.scope`],
      { containerId: CONTAINER },
    ],
    ['a name that nearly matches', [`pod${UID.slice(0, -1)}g`, CONTAINER], { containerId: CONTAINER }],
    [
      'deep below',
      [`pod${UID}`, CONTAINER, ...Array.from({ length: 60 }, () => 'x')],
      { podUid: UID, containerId: CONTAINER },
    ],
    [
      'deep look-alikes',
      [`pod${UID}`, ...Array.from({ length: 15 }, (_, index) => [CONTAINER, `pod${OTHER}`][index % 2] as string)],
      { podUid: UID, containerId: CONTAINER },
    ],
    ['the Pod itself', ['kubepods', `pod${UID}`], { podUid: UID }],
    [
      'a static Pod',
      [`pod${'0a'.repeat(16)}`, `crio-${CONTAINER}.scope`],
      { podUid: '0a'.repeat(16), containerId: CONTAINER },
    ],
    ['docker', [`docker-${CONTAINER}.scope`], { containerId: CONTAINER }],
    ['nobody’s', ['podinfo.slice', `${CONTAINER}x`, `x${CONTAINER}`, 'G'.repeat(64)], undefined],
    ['a long name', [`${'a-'.repeat(92)}${CONTAINER}.scope`, 'x'], { containerId: CONTAINER }],
  ])('a process shows its owner: %s', async (_name, segments, expected) => {
    await using cgroup = new TestCgroups(hierarchy, ...segments);
    await using child = await sleeping();
    cgroup.add(child.pid);
    const pass = await readWalk();
    expect(facts(pass, [child.pid])).toEqual(facts(await readProcessFiles('/proc', freeCycle()), [child.pid]));
    expect(pass.info(child.pid)?.container()).toEqual(expected);
  });
});

it('shows the namespace of a process', async () => {
  using netns = new TestNetns();
  await using host = await Host.start(netns);
  expect((await readWalk()).namespaces.find(({ pids }) => pids.includes(host.pid))).toMatchObject({
    id: Number(netns.cookie),
    inum: netns.inum,
  });
});

it('knows the owners of processes that use the network of the node, however many there are', async () => {
  await using pod = new TestPod(CGROUP_V2);
  await using host = await sleeping();
  pod.add(host.pid);
  expect((await readWalk()).info(host.pid)?.container()).toMatchObject({ podUid: pod.uid });
  const own = (await readWalk()).namespaces.find(({ pids }) => pids.includes(process.pid))?.id;
  expect((await readWalk(own)).info(host.pid)?.container()).toMatchObject({ podUid: pod.uid });
});

async function sleeping(): Promise<{ pid: number } & AsyncDisposable> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  return {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

it('misses no process and shows none twice while others start and end', async () => {
  await using steady = new AsyncDisposableStack();
  const pids: number[] = [];
  for (let index = 0; index < 100; index++) pids.push(steady.use(await sleeping()).pid);
  const churn = spawn('sh', ['-c', 'while :; do for i in 1 2 3 4 5 6 7 8; do true & done; wait; /bin/true; done'], {
    stdio: 'ignore',
  });
  try {
    for (let pass = 0; pass < 100; pass++) {
      const seen = (await readWalk()).namespaces.flatMap((namespace) => namespace.pids);
      expect(pids.filter((pid) => !seen.includes(pid))).toEqual([]);
      expect(new Set(seen).size).toBe(seen.length);
    }
  } finally {
    const gone = once(churn, 'exit');
    churn.kill('SIGKILL');
    await gone;
  }
});

it('on a node that is a container, as in kind, outer cgroups do not count', async () => {
  await using pod = new TestPod(CGROUP_V2);
  const cluster = ['kubelet', 'kubepods', 'burstable', `pod${UID}`, CONTAINER];
  const paths: readonly (readonly [string[], object | undefined])[] = [
    [cluster, POD],
    [[...cluster, `pod${OTHER}`, INNER], POD],
    [['docker', CONTAINER], { containerId: CONTAINER }],
    [['init.scope'], undefined],
    [['user.slice', 'user-0.slice', `pod${UID}`, CONTAINER], { ...POD, within: '' }],
    [['machine.slice', `pod${UID}`, CONTAINER], { ...POD, within: '' }],
    [['user.slice', `docker-${INNER}.scope`, `pod${UID}`, CONTAINER], { ...POD, within: INNER }],
    [['users.slice', `pod${UID}`, CONTAINER], POD],
  ];
  const script = 'echo $$ > "$0/cgroup.procs"; exec unshare --cgroup --pid --fork --mount-proc "$@"';
  const args = [process.execPath, NODE_IN_CONTAINER, pod.container, ...paths.map(([path]) => path.join('/'))];
  const { stdout } = await promisify(execFile)('sh', ['-c', script, pod.container, ...args]);
  expect(JSON.parse(stdout)).toEqual(paths.map(([, ref]) => [ref ?? null, ref ?? null]));
});

describe('in a PID namespace inside ours', () => {
  /**
   * Lists processes as an agent in a new PID namespace would. If `mountProc` is set, /proc belongs to the new
   * namespace; otherwise it belongs to the test's namespace.
   */
  async function listed(mountProc: boolean): Promise<{ own: number; pids: number[] }> {
    const args = ['--pid', '--fork', ...(mountProc ? ['--mount-proc'] : []), process.execPath, TASKS];
    const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    await once(child, 'close');
    return JSON.parse(text) as { own: number; pids: number[] };
  }

  it('numbers processes as that namespace does, and leaves out all others', async () => {
    expect(await listed(true)).toEqual({ own: 0, pids: [1] });
  });

  it('numbers them as our namespace does if /proc is ours', async () => {
    await using other = await sleeping();
    await eventually(async () => {
      const { own, pids } = await listed(false);
      expect(own).toBe(1);
      expect(pids).toContain(other.pid);
      expect(pids).toContain(process.pid);
    });
  });
});
