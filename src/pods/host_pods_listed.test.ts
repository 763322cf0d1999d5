import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isHostPodId, type NetnsId } from '#core/netns.ts';
import { A, HostPodsScene, ID, INNER, NODE, OTHER, POD, SECOND_MS, UID } from '../../test/support/host_pods_scene.ts';

let scene: HostPodsScene;

afterEach(() => scene[Symbol.dispose]());

describe('a Pod in the node’s namespace', () => {
  beforeEach(() => {
    scene = new HostPodsScene('');
  });

  it('is in no list of namespaces', async () => {
    scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    const [entity] = scene.shown.filter(({ netns }) => isHostPodId(netns));
    expect(entity).toMatchObject({ kind: 'pod', uid: UID, sharedNetns: NODE, inum: 10 });
    expect(scene.registry.snapshot().map(({ id }) => id)).toEqual([NODE]);
    expect(scene.registry.owners().map(({ entity: { netns } }) => netns)).toEqual([NODE]);
    expect(scene.registry.wasOwned(entity?.netns as NetnsId)).toBe(true);
    expect(scene.registry.hasDeparted(entity?.netns as NetnsId)).toBe(false);
  });

  it('is not dead for those that keep counts of it', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    const subject = scene.hostPods.subjectOf(id) as NetnsId;
    const swept: boolean[] = [];
    using _sweep = scene.registry.onSweep((isDead) => swept.push(isDead(subject)));
    for (let seconds = 0; seconds < 300; seconds += 5) {
      scene.nowMs += 5 * SECOND_MS;
      await scene.look();
    }
    expect(swept.length).toBeGreaterThan(3);
    expect(swept).not.toContain(true);
  });

  it('is listed at once where Kubernetes says so, and otherwise when it stays', async () => {
    scene.makeCgroup(`${POD}/${ID}`);
    scene.makeCgroup(`/kubepods/pod${OTHER}/${INNER}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    scene.start(6, `0::/kubepods/pod${OTHER}/${INNER}\n`);
    scene.hostNetwork.set(UID, true);
    await scene.scan();
    expect(scene.listed).toEqual([UID]);
    expect(scene.hostPods.isUnsettled).toBe(true);
    scene.processes.delete(6);
    scene.nowMs += 5 * SECOND_MS;
    await scene.scan();
    expect(scene.listed).toEqual([UID]);
    expect(scene.hostPods.isUnsettled).toBe(false);
  });

  it('is scanned for, for ten seconds after Kubernetes has reported it', async () => {
    await scene.scan();
    expect(scene.hostPods.isUnsettled).toBe(false);
    scene.hostPods.judgeAgain([{ uid: OTHER, hostNetwork: false }]);
    expect(scene.hostPods.isUnsettled).toBe(false);
    scene.hostPods.judgeAgain([{ uid: UID, hostNetwork: true }]);
    expect(scene.hostPods.isUnsettled).toBe(true);
    scene.nowMs += 10 * SECOND_MS;
    expect(scene.hostPods.isUnsettled).toBe(false);
    scene.hostNetwork.set(UID, true);
    scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scan();
    scene.hostPods.judgeAgain([{ uid: UID, hostNetwork: true }]);
    expect(scene.hostPods.isUnsettled).toBe(false);
  });

  it('is not listed where it has a namespace of its own, and its sockets in the node’s are the node’s', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    scene.start(6, `0::${POD}/${ID}\n`);
    // The Pod's oldest process is in a namespace of its own.
    const others = new Map([[A, [5]]]);
    for (let scans = 0; scans < 3; scans++) {
      await scene.scan(others);
      scene.nowMs += SECOND_MS;
    }
    expect(scene.listed).toEqual([]);
    expect(await scene.ownerOf(id)).toBeUndefined();
  });

  it('is withdrawn where Kubernetes says that it does not use the node’s network', async () => {
    const id = scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    expect(await scene.ownerOf(id)).toBe(UID);
    scene.hostNetwork.set(UID, false);
    scene.hostPods.judgeAgain([{ uid: UID, hostNetwork: false }]);
    expect(scene.listed).toEqual([]);
    expect(await scene.ownerOf(id)).toBeUndefined();
  });

  it('may have made a namespace of its own since', async () => {
    scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    scene.start(6, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    await scene.scan(new Map([[A, [6]]]));
    expect(scene.listed).toEqual([UID]);
    expect(scene.shown.filter(({ uid }) => uid === UID).map(({ netns }) => isHostPodId(netns))).toEqual([false, true]);
  });
});

it('reads a process from /proc again within a minute, and until it has settled', async () => {
  scene = new HostPodsScene('');
  scene.makeCgroup(`${POD}/${ID}`);
  scene.start(5, '0::/system.slice/containerd.service\n');
  await scene.scan(new Map(), 'files');
  // The container runtime moves the process into the Pod's cgroup.
  scene.nowMs += SECOND_MS;
  scene.start(5, `0::${POD}/${ID}\n`);
  await scene.scan(new Map(), 'files');
  scene.nowMs += SECOND_MS;
  await scene.scan(new Map(), 'files');
  expect(scene.listed).toEqual([UID]);
  scene.nowMs += 20 * SECOND_MS;
  await scene.scan(new Map(), 'files');
  // A process of another Pod reuses the process ID.
  scene.makeCgroup(`/kubepods/pod${OTHER}/${INNER}`);
  scene.start(5, `0::/kubepods/pod${OTHER}/${INNER}\n`);
  scene.hostNetwork.set(OTHER, true);
  scene.nowMs += SECOND_MS;
  await scene.scan(new Map(), 'files');
  expect(scene.listed).toEqual([UID]);
  scene.nowMs += 60 * SECOND_MS;
  await scene.scan(new Map(), 'files');
  expect(scene.listed).toEqual([UID, OTHER]);
});
