import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, isHostPodId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { SourceErrors } from '#sources/errors.ts';
import { parseCgroup } from './cgroup.ts';
import { CGROUPS_EACH_MAX } from './cgroup_ids.ts';
import type { Entity } from './entity.ts';
import { HostPodTracker } from './host_pods.ts';
import { NetnsRegistry } from './registry.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
const STATIC = '0123456789abcdef0123456789abcdef';
const ID = 'ab'.repeat(32);
const INNER = 'cd'.repeat(32);
const NODE = asNetnsId(1);
const A = asNetnsId(2);
const RETIRE_MS = 120_000;
const SECOND_MS = 1_000;
const POD = `/kubepods/burstable/pod${UID}`;

let folder: string;
let paths: Paths;
let nowMs: number;
let registry: NetnsRegistry;
let hostPods: HostPodTracker;
let shown: readonly Entity[];
let hostNetwork: Map<string, boolean>;
let errors: SourceErrors;
/** Contents of /proc/<pid>/cgroup. */
let processes: Map<number, string>;

/**
 * Sets up a machine.
 * @param mount mount point of cgroup v2, relative to the cgroup directory; undefined if it is not mounted
 */
function setUp(mount: string | undefined): void {
  paths = {
    ...DEFAULT_PATHS,
    proc: join(folder, 'proc'),
    cgroup: join(folder, 'cgroup'),
    netns: join(folder, 'netns'),
  };
  mkdirSync(join(paths.proc, '1'), { recursive: true });
  symlinkSync('1', join(paths.proc, 'self'));
  writeFileSync(join(paths.proc, '1/cgroup'), '0::/init.scope\n');
  mkdirSync(paths.cgroup);
  if (mount !== undefined) makeCgroup(mount, '/');
  nowMs = 1_000_000;
  hostNetwork = new Map();
  processes = new Map();
  shown = [];
  errors = new SourceErrors();
  registry = new NetnsRegistry(
    paths,
    (entities) => {
      shown = entities;
    },
    (uid) => hostNetwork.get(uid),
    () => nowMs,
  );
  hostPods = new HostPodTracker(paths, registry, errors, () => nowMs);
}

/** Creates a cgroup and its parents, and returns its ID. */
function makeCgroup(mount: string, path: string): Counter {
  let at = join(paths.cgroup, mount);
  for (const name of ['', ...path.split('/').filter((segment) => segment !== '')]) {
    at = join(at, name);
    if (existsSync(join(at, 'cgroup.procs'))) continue;
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, 'cgroup.procs'), '');
  }
  return statSync(at).ino;
}

function removeCgroup(mount: string, path: string): void {
  rmSync(join(paths.cgroup, mount, path), { recursive: true });
}

function start(pid: number, cgroups: string): void {
  processes.set(pid, cgroups);
  mkdirSync(join(paths.proc, String(pid)), { recursive: true });
  writeFileSync(join(paths.proc, String(pid), 'cgroup'), cgroups);
}

const table = {
  info: (pid: number) => {
    const text = processes.get(pid);
    return text === undefined ? undefined : { pid, comm: 'app', startSeconds: pid, container: () => parseCgroup(text) };
  },
};

/**
 * Simulates a scan.
 * @param others processes in namespaces other than the node's
 */
async function scan(others: ReadonlyMap<NetnsId, readonly number[]> = new Map(), reader: 'pass' | 'files' = 'pass') {
  const places: [NetnsId, readonly number[]][] = [...others];
  const elsewhere = new Set(places.flatMap(([, pids]) => pids));
  places.unshift([NODE, [1, ...[...processes.keys()].filter((pid) => !elsewhere.has(pid))]]);
  const rows: NetnsRow[] = places.map(([id]) => ({ id, inum: Number(id) * 10, initial: id === NODE }));
  registry.beforeLook();
  registry.scanBegins();
  for (const [id, pids] of places)
    registry.found({ id, inum: Number(id) * 10, pids, mounts: [], order: Number(id) }, id === NODE, table);
  const atNode = places[0]?.[1] ?? [];
  registry.judge(atNode, table);
  await hostPods.scanned(atNode, table, reader, freeCycle());
  await look(rows);
}

async function look(rows: readonly NetnsRow[] = [{ id: NODE, inum: 10, initial: true }]): Promise<void> {
  await hostPods.look(freeCycle());
  registry.afterLook(rows);
}

/**
 * Simulates two scans. Without information from Kubernetes, a Pod may still be moving to its own namespace at the first
 * one.
 */
async function scanTwice(): Promise<void> {
  await scan();
  nowMs += SECOND_MS;
  await scan();
}

function listed(): string[] {
  return shown
    .filter(({ netns }) => isHostPodId(netns))
    .map(({ pod, isRetired }) => (isRetired === true ? `${pod} retired` : pod));
}

async function ownerOf(cgroup: Counter): Promise<string | undefined> {
  await hostPods.find([cgroup]);
  const subject = hostPods.subjectOf(cgroup);
  return shown.find(({ netns }) => netns === subject)?.uid;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'host-pods-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe.each([
  ['cgroup v2 alone', ''],
  ['cgroup v2 beside v1', 'unified'],
])('a Pod in the node’s namespace, %s', (_, mount) => {
  beforeEach(() => setUp(mount));

  it.each([
    ['cgroupfs', POD, `${POD}/${ID}`, UID],
    [
      'systemd',
      `/kubepods.slice/kubepods-pod${UID.replaceAll('-', '_')}.slice`,
      `/kubepods.slice/kubepods-pod${UID.replaceAll('-', '_')}.slice/cri-containerd-${ID}.scope`,
      UID,
    ],
    ['a static Pod', `/kubepods/burstable/pod${STATIC}`, `/kubepods/burstable/pod${STATIC}/${ID}`, STATIC],
    ['a node of kind', `/kubelet/kubepods/pod${UID}`, `/kubelet/kubepods/pod${UID}/${ID}`, UID],
  ])('is listed, and has the cgroups below its own: %s', async (__, pod, container, uid) => {
    const ids = [pod, container, `${container}/init.scope/worker`].map((path) => makeCgroup(mount, path));
    start(5, `0::${container}\n`);
    await scanTwice();
    expect(listed()).toEqual([uid]);
    for (const id of ids) expect(await ownerOf(id)).toBe(uid);
    expect(await ownerOf(makeCgroup(mount, '/system.slice/sshd.service'))).toBeUndefined();
    expect(hostPods.missed).toBe(0);
    expect(hostPods.degraded).toEqual([]);
    expect(errors.counts.size).toBe(0);
  });

  it('is known by a path that leads out of our cgroup namespace', async () => {
    const id = makeCgroup(mount, `${POD}/${ID}`);
    start(5, `0::/../../pod${UID}/${ID}\n`);
    await scanTwice();
    expect(await ownerOf(id)).toBe(UID);
    expect(hostPods.degraded).toEqual([]);
  });

  it('owns the cgroups that it names after other Pods', async () => {
    const id = makeCgroup(mount, `${POD}/${ID}/kubepods/pod${OTHER}/${INNER}`);
    start(5, `0::${POD}/${ID}/kubepods/pod${OTHER}/${INNER}\n`);
    await scanTwice();
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(id)).toBe(UID);
  });
});

describe('a Pod in the node’s namespace', () => {
  beforeEach(() => setUp(''));

  it('is in no list of namespaces', async () => {
    makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    await scanTwice();
    const [entity] = shown.filter(({ netns }) => isHostPodId(netns));
    expect(entity).toMatchObject({ kind: 'pod', uid: UID, sharedNetns: NODE, inum: 10 });
    expect(registry.snapshot().map(({ id }) => id)).toEqual([NODE]);
    expect(registry.owners().map(({ entity: { netns } }) => netns)).toEqual([NODE]);
    expect(registry.wasOwned(entity?.netns as NetnsId)).toBe(true);
    expect(registry.hasDeparted(entity?.netns as NetnsId)).toBe(false);
  });

  it('is not dead for those that keep counts of it', async () => {
    const id = makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    await scanTwice();
    const subject = hostPods.subjectOf(id) as NetnsId;
    const swept: boolean[] = [];
    using _sweep = registry.onSweep((isDead) => swept.push(isDead(subject)));
    for (let seconds = 0; seconds < 30; seconds += 5) {
      nowMs += 5 * SECOND_MS;
      await look();
    }
    expect(swept.length).toBeGreaterThan(3);
    expect(swept).not.toContain(true);
  });

  it('is listed at once where Kubernetes says so, and otherwise when it stays', async () => {
    makeCgroup('', `${POD}/${ID}`);
    makeCgroup('', `/kubepods/pod${OTHER}/${INNER}`);
    start(5, `0::${POD}/${ID}\n`);
    start(6, `0::/kubepods/pod${OTHER}/${INNER}\n`);
    hostNetwork.set(UID, true);
    await scan();
    expect(listed()).toEqual([UID]);
    expect(hostPods.isUnsettled).toBe(true);
    processes.delete(6);
    nowMs += 5 * SECOND_MS;
    await scan();
    expect(listed()).toEqual([UID]);
    expect(hostPods.isUnsettled).toBe(false);
  });

  it('is scanned for, for ten seconds after Kubernetes has reported it', async () => {
    await scan();
    expect(hostPods.isUnsettled).toBe(false);
    hostPods.judgeAgain([{ uid: OTHER, hostNetwork: false }]);
    expect(hostPods.isUnsettled).toBe(false);
    hostPods.judgeAgain([{ uid: UID, hostNetwork: true }]);
    expect(hostPods.isUnsettled).toBe(true);
    nowMs += 10 * SECOND_MS;
    expect(hostPods.isUnsettled).toBe(false);
    hostNetwork.set(UID, true);
    makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    await scan();
    hostPods.judgeAgain([{ uid: UID, hostNetwork: true }]);
    expect(hostPods.isUnsettled).toBe(false);
  });

  it('is not listed where it has a namespace of its own, and its sockets in the node’s are the node’s', async () => {
    const id = makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    start(6, `0::${POD}/${ID}\n`);
    // The oldest process is in the Pod's own namespace.
    const others = new Map([[A, [5]]]);
    for (let scans = 0; scans < 3; scans++) {
      await scan(others);
      nowMs += SECOND_MS;
    }
    expect(listed()).toEqual([]);
    expect(await ownerOf(id)).toBeUndefined();
  });

  it('is withdrawn where Kubernetes says that it does not use the node’s network', async () => {
    const id = makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    await scanTwice();
    expect(await ownerOf(id)).toBe(UID);
    hostNetwork.set(UID, false);
    hostPods.judgeAgain([{ uid: UID, hostNetwork: false }]);
    expect(listed()).toEqual([]);
    expect(await ownerOf(id)).toBeUndefined();
  });

  it('may have made a namespace of its own since', async () => {
    makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    start(6, `0::${POD}/${ID}\n`);
    await scanTwice();
    await scan(new Map([[A, [6]]]));
    expect(listed()).toEqual([UID]);
    expect(shown.filter(({ uid }) => uid === UID).map(({ netns }) => isHostPodId(netns))).toEqual([false, true]);
  });

  it('is found by its sockets, before any process was seen', async () => {
    const id = makeCgroup('', `${POD}/${ID}/worker`);
    await scan();
    expect(hostPods.subjectOf(id)).toBeUndefined();
    await hostPods.find([id]);
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(id)).toBe(UID);
    // Another cgroup of the Pod has the same subject.
    expect(await ownerOf(makeCgroup('', `${POD}/${INNER}`))).toBe(UID);
    expect(listed()).toEqual([UID]);
    await scan();
    expect(listed()).toEqual([UID]);
  });

  it('shares a look with those that ask at the same time, and each cgroup is looked for once', async () => {
    const pod = makeCgroup('', `${POD}/${ID}`);
    const gone = makeCgroup('', '/system.slice/gone.service');
    removeCgroup('', '/system.slice/gone.service');
    await scan();
    await Promise.all([hostPods.find([pod, gone, 0]), hostPods.find([gone]), hostPods.find([pod])]);
    expect(hostPods.missed).toBe(1);
    await hostPods.find([gone, pod, 0]);
    expect(hostPods.missed).toBe(1);
    expect(hostPods.subjectOf(gone)).toBeUndefined();
    expect(hostPods.subjectOf(0)).toBeUndefined();
    expect(isHostPodId(hostPods.subjectOf(pod) as NetnsId)).toBe(true);
  });

  it('keeps a cgroup that was the node’s when it was asked for', async () => {
    const id = makeCgroup('', '/system.slice/a.service');
    await scan();
    expect(await ownerOf(id)).toBeUndefined();
    removeCgroup('', '/system.slice/a.service');
    expect(await ownerOf(id)).toBeUndefined();
    expect(hostPods.missed).toBe(0);
  });

  it('counts as the node where it is in a container or a user’s cgroup on a node that has Pods', async () => {
    const inside = makeCgroup('', `/docker/${INNER}/kubepods/pod${OTHER}/${ID}`);
    const ofUser = makeCgroup('', `/user.slice/user-1000.slice/pod${OTHER}/${ID}`);
    makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    start(6, `0::/docker/${INNER}/kubepods/pod${OTHER}/${ID}\n`);
    await scanTwice();
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(inside)).toBeUndefined();
    expect(await ownerOf(ofUser)).toBeUndefined();
  });

  it('with thousands of cgroups harms no other, and this is said', async () => {
    makeCgroup('', `${POD}/${ID}`);
    for (let index = 0; index < CGROUPS_EACH_MAX + 100; index++) {
      mkdirSync(join(paths.cgroup, POD, ID, `g${index}`));
    }
    const other = makeCgroup('', `/kubepods/burstable/pod${OTHER}/${INNER}/x/y`);
    start(5, `0::${POD}/${ID}\n`);
    start(6, `0::/kubepods/burstable/pod${OTHER}/${INNER}/x/y\n`);
    await scanTwice();
    expect(listed()).toEqual([UID, OTHER]);
    expect(await ownerOf(other)).toBe(OTHER);
    expect(hostPods.degraded).toEqual([
      `the Pod ${UID} has more than ${CGROUPS_EACH_MAX} cgroups, so the sockets of some count as the node's`,
    ]);
  });
});

describe('the end of a Pod in the node’s namespace', () => {
  let watching: Disposable;
  const departed: string[] = [];
  let id: Counter;
  let subject: NetnsId;

  beforeEach(async () => {
    setUp('');
    departed.length = 0;
    watching = registry.watch({
      retireMs: RETIRE_MS,
      retireShare: 1,
      beforeLook: () => undefined,
      departed: ({ name }) => departed.push(name),
      died: () => undefined,
    });
    id = makeCgroup('', `${POD}/${ID}`);
    start(5, `0::${POD}/${ID}\n`);
    await scanTwice();
    subject = hostPods.subjectOf(id) as NetnsId;
  });
  afterEach(() => watching[Symbol.dispose]());

  it('is not the end of its processes, nor that of a container', async () => {
    processes.delete(5);
    removeCgroup('', `${POD}/${ID}`);
    nowMs += 30 * SECOND_MS;
    await scan();
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(id)).toBe(UID);
    // The next container has a different cgroup in the same Pod.
    expect(await ownerOf(makeCgroup('', `${POD}/${INNER}`))).toBe(UID);
    expect(hostPods.subjectOf(id)).toBe(subject);
  });

  it('is seen by the next look; the Pod is shown like others that have died, and its cgroups stay its own', async () => {
    processes.delete(5);
    removeCgroup('', POD);
    nowMs += 5 * SECOND_MS;
    await look();
    expect(listed()).toEqual([`${UID} retired`]);
    expect(registry.lastKnown(subject)).toMatchObject({ uid: UID, sharedNetns: NODE });
    expect(departed).toEqual([]);
    nowMs += RETIRE_MS - SECOND_MS;
    await look();
    expect(listed()).toEqual([`${UID} retired`]);
    expect(hostPods.subjectOf(id)).toBe(subject);
    const swept: boolean[] = [];
    using _sweep = registry.onSweep((isDead) => swept.push(isDead(subject)));
    nowMs += 6 * SECOND_MS;
    await look();
    expect(listed()).toEqual([]);
    expect(registry.hasDeparted(subject)).toBe(true);
    expect(registry.isIgnored(subject)).toBe(true);
    expect(swept.at(-1)).toBe(true);
    await hostPods.find([id]);
    expect(hostPods.subjectOf(id)).toBe(subject);
    expect(hostPods.missed).toBe(0);
    nowMs += 600 * SECOND_MS;
    await look();
    expect(hostPods.subjectOf(id)).toBeUndefined();
  });

  it('is that of its processes where its cgroup cannot be seen', async () => {
    rmSync(paths.cgroup, { recursive: true });
    start(6, `4:memory:/kubepods/pod${OTHER}/${INNER}\n0::/system.slice/containerd.service\n`);
    await scanTwice();
    expect(listed()).toContain(OTHER);
    processes.delete(6);
    await scan();
    expect(listed()).toContain(`${OTHER} retired`);
  });
});

describe('where sockets do not name the Pod', () => {
  it('cgroup v1 alone: the Pod is listed, its sockets are the node’s, and this is said', async () => {
    setUp('unified');
    makeCgroup('memory', `${POD}/${ID}`);
    const service = makeCgroup('unified', '/system.slice/containerd.service');
    start(5, `4:memory:${POD}/${ID}\n0::/system.slice/containerd.service\n`);
    await scanTwice();
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(service)).toBeUndefined();
    expect(hostPods.degraded).toEqual([
      `the sockets of 1 of 1 Pods that share the node's namespace count as the node's, because these Pods have no cgroup v2 directory below ${paths.cgroup}`,
    ]);
    removeCgroup('memory', POD);
    await look();
    expect(listed()).toEqual([]);
  });

  it('cgroup v2 is not mounted: nothing is found, nothing fails', async () => {
    setUp(undefined);
    start(5, `0::${POD}/${ID}\n`);
    await scanTwice();
    expect(listed()).toEqual([UID]);
    expect(await ownerOf(1234)).toBeUndefined();
    expect(hostPods.missed).toBe(1);
    expect(hostPods.degraded).toHaveLength(1);
    expect(errors.counts.size).toBe(0);
  });
});

it('reads a process from /proc again within a minute, and until it has settled', async () => {
  setUp('');
  makeCgroup('', `${POD}/${ID}`);
  start(5, '0::/system.slice/containerd.service\n');
  await scan(new Map(), 'files');
  // The runtime moves the process into its cgroup.
  nowMs += SECOND_MS;
  start(5, `0::${POD}/${ID}\n`);
  await scan(new Map(), 'files');
  nowMs += SECOND_MS;
  await scan(new Map(), 'files');
  expect(listed()).toEqual([UID]);
  nowMs += 20 * SECOND_MS;
  await scan(new Map(), 'files');
  // The process ID is reused by a process of another Pod.
  makeCgroup('', `/kubepods/pod${OTHER}/${INNER}`);
  start(5, `0::/kubepods/pod${OTHER}/${INNER}\n`);
  hostNetwork.set(OTHER, true);
  nowMs += SECOND_MS;
  await scan(new Map(), 'files');
  expect(listed()).toEqual([UID]);
  nowMs += 60 * SECOND_MS;
  await scan(new Map(), 'files');
  expect(listed()).toEqual([UID, OTHER]);
});
