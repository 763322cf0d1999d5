import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { HostPodsScene, ID, INNER, NODE, OTHER, POD, SECOND_MS, UID } from '../../test/support/host_pods_scene.ts';
import type { Entity } from './entity.ts';

const RETIRE_MS = 120_000;

let scene: HostPodsScene;

afterEach(() => scene[Symbol.dispose]());

describe('the end of a Pod in the node’s namespace', () => {
  let watching: Disposable;
  const departed: string[] = [];
  let id: Counter;
  let subject: NetnsId;

  beforeEach(async () => {
    scene = new HostPodsScene('');
    departed.length = 0;
    watching = scene.registry.watch({
      retireMs: RETIRE_MS,
      retireShare: 1,
      beforeLook: () => undefined,
      departed: ({ name }) => departed.push(name),
      died: () => undefined,
    });
    id = scene.makeCgroup(`${POD}/${ID}`);
    scene.start(5, `0::${POD}/${ID}\n`);
    await scene.scanTwice();
    subject = scene.hostPods.subjectOf(id) as NetnsId;
  });
  afterEach(() => watching[Symbol.dispose]());

  it('is not the end of its processes, nor that of a container', async () => {
    scene.processes.delete(5);
    scene.removeCgroup(`${POD}/${ID}`);
    scene.nowMs += 30 * SECOND_MS;
    await scene.scan();
    expect(scene.listed).toEqual([UID]);
    expect(await scene.ownerOf(id)).toBe(UID);
    // The next container has another cgroup in the same Pod.
    expect(await scene.ownerOf(scene.makeCgroup(`${POD}/${INNER}`))).toBe(UID);
    expect(scene.hostPods.subjectOf(id)).toBe(subject);
  });

  it('is seen by the next look; the Pod is shown like others that have died, and its cgroups stay its own', async () => {
    scene.processes.delete(5);
    scene.removeCgroup(POD);
    scene.nowMs += 5 * SECOND_MS;
    await scene.look();
    expect(scene.listed).toEqual([`${UID} retired`]);
    expect(scene.registry.lastKnown(subject)).toMatchObject({ uid: UID, sharedNetns: NODE });
    expect(departed).toEqual([]);
    scene.nowMs += RETIRE_MS - SECOND_MS;
    await scene.look();
    expect(scene.listed).toEqual([`${UID} retired`]);
    expect(scene.hostPods.subjectOf(id)).toBe(subject);
    const swept: boolean[] = [];
    using _sweep = scene.registry.onSweep((isDead) => swept.push(isDead(subject)));
    scene.nowMs += 6 * SECOND_MS;
    await scene.look();
    expect(scene.listed).toEqual([]);
    expect(scene.registry.hasDeparted(subject)).toBe(true);
    expect(scene.registry.isIgnored(subject)).toBe(true);
    expect(swept.at(-1)).toBe(true);
    await scene.hostPods.find([id]);
    expect(scene.hostPods.subjectOf(id)).toBe(subject);
    expect(scene.hostPods.missed).toBe(0);
    scene.nowMs += 600 * SECOND_MS;
    await scene.look();
    expect(scene.hostPods.subjectOf(id)).toBeUndefined();
  });

  it('is over after ten minutes, however many namespaces have died since', async () => {
    scene.processes.delete(5);
    scene.removeCgroup(POD);
    scene.nowMs += 5 * SECOND_MS;
    await scene.look();
    const last = scene.registry.lastKnown(subject) as Entity;
    const others = Array.from({ length: 5_000 }, (_, index) => asNetnsId(1_000 + index));
    scene.registry.setHostPods(
      [],
      others.map((netns) => ({ ...last, netns, uid: String(netns) })),
    );
    expect(scene.registry.lastKnown(subject)).toBeUndefined();
    expect(scene.hostPods.subjectOf(id)).toBe(subject);
    scene.nowMs += 600 * SECOND_MS;
    await scene.look();
    expect(scene.hostPods.subjectOf(id)).toBeUndefined();
  });

  it('is that of its processes where its cgroup cannot be seen', async () => {
    rmSync(scene.paths.cgroup, { recursive: true });
    scene.start(6, `4:memory:/kubepods/pod${OTHER}/${INNER}\n0::/system.slice/containerd.service\n`);
    await scene.scanTwice();
    expect(scene.listed).toContain(OTHER);
    scene.processes.delete(6);
    await scene.scan();
    expect(scene.listed).toContain(`${OTHER} retired`);
  });
});
