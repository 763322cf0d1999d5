import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isHostPodId, type NetnsId } from '#core/netns.ts';
import { HostPodsScene, ID, INNER, OTHER, POD, UID } from '../../test/support/host_pods_scene.ts';
import { CGROUPS_EACH_MAX } from './cgroup_ids.ts';

const STATIC = '0123456789abcdef0123456789abcdef';

let scene: HostPodsScene;

afterEach(() => scene[Symbol.dispose]());

describe.each([
  ['cgroup v2 alone', ''],
  ['cgroup v2 beside v1', 'unified'],
])('a Pod in the node’s namespace, %s', (_, mount) => {
  beforeEach(() => {
    scene = new HostPodsScene(mount);
  });

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
    const ids = [pod, container, `${container}/init.scope/worker`].map((path) => scene.makeCgroup(path));
    scene.start(5, `0::${container}\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([uid]);
    for (const id of ids) expect(await scene.ownerOf(id)).toBe(uid);
    expect(await scene.ownerOf(scene.makeCgroup('/system.slice/sshd.service'))).toBeUndefined();
    expect(scene.hostPods.missed).toBe(0);
    expect(scene.hostPods.degraded).toEqual([]);
    expect(scene.errors.counts.size).toBe(0);
  });

  it('is known by a path that leads out of our cgroup namespace', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::/../../pod${UID}/${ID}\n`);
    await scene.scanTwice();
    expect(await scene.ownerOf(id)).toBe(UID);
    expect(scene.hostPods.degraded).toEqual([]);
  });

  it('owns the cgroups that it names after other Pods', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}/kubepods/pod${OTHER}/${INNER}`);
    scene.start(5, `0::${POD}/${ID}/kubepods/pod${OTHER}/${INNER}\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(id)).toBe(UID);
  });
});

describe('a Pod in the node’s namespace that has sockets', () => {
  beforeEach(() => {
    scene = new HostPodsScene('');
  });

  it('is found by its sockets, before any process was seen', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}/worker`);
    await scene.scan();
    expect(scene.hostPods.subjectOf(id)).toBeUndefined();
    await scene.hostPods.find([id]);
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(id)).toBe(UID);
    // Sockets in another cgroup of the Pod have the same subject.
    expect(await scene.ownerOf(scene.makeCgroup(`${POD}/${INNER}`))).toBe(UID);
    expect(scene.listed).toEqual([UID]);
    await scene.scan();
    expect(scene.listed).toEqual([UID]);
  });

  it('shares a look with those that ask at the same time, and each cgroup is looked for once', async () => {
    const pod = scene.makeCgroup(`${POD}/${ID}`);
    const gone = scene.makeCgroup('/system.slice/gone.service');
    scene.removeCgroup('/system.slice/gone.service');
    await scene.scan();
    await Promise.all([scene.hostPods.find([pod, gone, 0]), scene.hostPods.find([gone]), scene.hostPods.find([pod])]);
    expect(scene.hostPods.missed).toBe(1);
    await scene.hostPods.find([gone, pod, 0]);
    expect(scene.hostPods.missed).toBe(1);
    expect(scene.hostPods.subjectOf(gone)).toBeUndefined();
    expect(scene.hostPods.subjectOf(0)).toBeUndefined();
    expect(isHostPodId(scene.hostPods.subjectOf(pod) as NetnsId)).toBe(true);
  });

  it('keeps a cgroup that was the node’s when it was asked for', async () => {
    const id = scene.makeCgroup('/system.slice/a.service');
    await scene.scan();
    expect(await scene.ownerOf(id)).toBeUndefined();
    scene.removeCgroup('/system.slice/a.service');
    expect(await scene.ownerOf(id)).toBeUndefined();
    expect(scene.hostPods.missed).toBe(0);
  });

  it('counts as the node where it is in a container or a user’s cgroup on a node that has Pods', async () => {
    const inside = scene.makeCgroup(`/docker/${INNER}/kubepods/pod${OTHER}/${ID}`);
    const ofUser = scene.makeCgroup(`/user.slice/user-1000.slice/pod${OTHER}/${ID}`);
    scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    scene.start(6, `0::/docker/${INNER}/kubepods/pod${OTHER}/${ID}\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(inside)).toBeUndefined();
    expect(await scene.ownerOf(ofUser)).toBeUndefined();
  });

  it('with thousands of cgroups harms no other, and this is said', async () => {
    scene.makeCgroup(`${POD}/${ID}`);
    for (let index = 0; index < CGROUPS_EACH_MAX + 100; index++) {
      mkdirSync(join(scene.paths.cgroup, POD, ID, `g${index}`));
    }
    const other = scene.makeCgroup(`/kubepods/burstable/pod${OTHER}/${INNER}/x/y`);
    scene.start(5, `0::${POD}/${ID}\n`);
    scene.start(6, `0::/kubepods/burstable/pod${OTHER}/${INNER}/x/y\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([UID, OTHER]);
    expect(await scene.ownerOf(other)).toBe(OTHER);
    expect(scene.hostPods.degraded).toEqual([
      `the Pod ${UID} has more than ${CGROUPS_EACH_MAX} cgroups, so the sockets of some count as the node's`,
    ]);
  });
});

describe('where sockets do not name the Pod', () => {
  it('cgroup v1 alone: the Pod is listed, its sockets are the node’s, and this is said', async () => {
    scene = new HostPodsScene('unified');
    scene.makeCgroup(`${POD}/${ID}`, 'memory');
    const service = scene.makeCgroup('/system.slice/containerd.service', 'unified');
    scene.start(5, `4:memory:${POD}/${ID}\n0::/system.slice/containerd.service\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(service)).toBeUndefined();
    expect(scene.hostPods.degraded).toEqual([
      `the sockets of 1 of 1 Pods that share the node's namespace count as the node's, because these Pods have no cgroup v2 directory below ${scene.paths.cgroup}`,
    ]);
    scene.removeCgroup(POD, 'memory');
    await scene.look();
    expect(scene.listed).toEqual([]);
  });

  it('cgroup v2 is not mounted: nothing is found, nothing fails', async () => {
    scene = new HostPodsScene(undefined);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(1234)).toBeUndefined();
    expect(scene.hostPods.missed).toBe(1);
    expect(scene.hostPods.degraded).toHaveLength(1);
    expect(scene.errors.counts.size).toBe(0);
  });
});
