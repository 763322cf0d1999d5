import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Counter } from '#core/counter.ts';
import { freeCycle } from '#core/cycle.ts';
import { cgroupId, cgroupsBelow, findCgroups } from './cgroup_ids.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
const STATIC = '0123456789abcdef0123456789abcdef';
const ID = 'ab'.repeat(32);
const INNER = 'cd'.repeat(32);
const EACH_MAX = 50;
const slice = (uid: string) => `kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`;

let mount: string;
beforeEach(() => {
  mount = mkdtempSync(join(tmpdir(), 'cgroups-'));
});
afterEach(() => rmSync(mount, { recursive: true }));

function make(path: string): Counter {
  mkdirSync(join(mount, path), { recursive: true });
  return statSync(join(mount, path)).ino;
}

async function placeOf(id: Counter) {
  return (await findCgroups(mount, new Set([id]), freeCycle())).get(id);
}

describe('a search for cgroups', () => {
  it.each([
    ['cgroupfs', `kubepods/burstable/pod${UID}`, ID, UID],
    ['systemd', `kubepods.slice/kubepods-burstable.slice/${slice(UID)}`, `cri-containerd-${ID}.scope`, UID],
    ['CRI-O with a cgroup of its own', `kubepods.slice/${slice(UID)}`, `crio-${ID}.scope/container`, UID],
    ['a static Pod', `kubepods/burstable/pod${STATIC}`, ID, STATIC],
    ['a static Pod, systemd', `kubepods.slice/kubepods-burstable-pod${STATIC}.slice`, `crio-${ID}.scope`, STATIC],
    [
      'a node of kind',
      `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UID.replaceAll('-', '_')}.slice`,
      ID,
      UID,
    ],
    ['slices as folders', `system.slice/k3s.service/${slice(UID)}:cri-containerd:${ID}`, 'app', UID],
    ['Docker in a Pod', `kubepods/pod${UID}`, `${ID}/docker/${INNER}`, UID],
    ['a look-alike in a Pod', `kubepods/pod${UID}`, `${ID}/kubepods/pod${OTHER}/${INNER}`, UID],
  ])('finds the Pod: %s', async (_, pod, below, uid) => {
    make(`kubepods/pod${OTHER}/${INNER}`);
    const id = make(join(pod, below));
    expect(await placeOf(id)).toMatchObject({ ref: { podUid: uid }, podFolder: join(mount, pod) });
    expect((await placeOf(id))?.ref?.within).toBeUndefined();
    expect(await placeOf(make(pod))).toMatchObject({ ref: { podUid: uid }, podFolder: join(mount, pod) });
  });

  it.each([
    ['the root', ''],
    ['a service', 'system.slice/sshd.service'],
    ['a container', `docker/${ID}`],
    ['the slice of all Pods', 'kubepods.slice'],
  ])('finds no Pod: %s', async (_, path) => {
    const place = await placeOf(make(path));
    expect(place).toBeDefined();
    expect(place?.ref?.podUid).toBeUndefined();
    expect(place?.podFolder).toBeUndefined();
  });

  it.each([
    ['in a container', `docker/${ID}/kubepods/pod${UID}/${INNER}`, ID],
    ['of a user', `user.slice/user-1000.slice/pod${UID}/${ID}`, ''],
  ])('says that the node did not make the cgroup of a Pod: %s', async (_, path, within) => {
    expect((await placeOf(make(path)))?.ref).toMatchObject({ podUid: UID, within });
  });

  it('does not find a cgroup that is gone, and stops when it has found all', async () => {
    const ids = ['a', 'b', 'c'].map((name) => make(name));
    rmSync(join(mount, 'b'), { recursive: true });
    const found = await findCgroups(mount, new Set(ids), freeCycle());
    expect([...found.keys()].sort()).toEqual([ids[0], ids[2]].sort());
  });

  it.each([
    ['a Pod', `kubepods/pod${OTHER}/${INNER}`],
    ['a user', 'user.slice/user-1000.slice'],
    ['a container', `docker/${INNER}`],
  ])('finds others though %s makes many cgroups', async (_, hostile) => {
    for (let index = 0; index < 4 * EACH_MAX; index++) make(join(hostile, `g${index}`));
    const wanted = [make(`kubepods/pod${UID}/${ID}/deep/deeper`), make('system.slice/a.service/b/c/d')];
    const found = await findCgroups(mount, new Set(wanted), freeCycle(), EACH_MAX);
    expect(found.size).toBe(2);
    const flood = Array.from({ length: 4 * EACH_MAX }, (__, index) => make(join(hostile, `g${index}`)));
    const visited = (await findCgroups(mount, new Set([...flood, -1]), freeCycle(), EACH_MAX)).size;
    expect(visited).toBeGreaterThan(EACH_MAX - 5);
    expect(visited).toBeLessThan(EACH_MAX);
  });
});

describe('the cgroups of a Pod', () => {
  it('are all below its own, the outer ones first', async () => {
    const pod = `kubepods/pod${UID}`;
    const ids = [pod, `${pod}/${ID}`, `${pod}/${ID}/init.scope`].map(make);
    expect(await cgroupsBelow(join(mount, pod), freeCycle())).toEqual({ ids, isCut: false });
    expect(cgroupId(join(mount, pod))).toBe(ids[0]);
    rmSync(join(mount, pod), { recursive: true });
    expect(await cgroupsBelow(join(mount, pod), freeCycle())).toBeUndefined();
    expect(cgroupId(join(mount, pod))).toBeUndefined();
  });

  it('are no more than the limit', async () => {
    make('pod/inner');
    for (let index = 0; index < EACH_MAX; index++) make(`pod/inner/g${index}`);
    const cut = await cgroupsBelow(join(mount, 'pod'), freeCycle(), EACH_MAX);
    expect(cut?.isCut).toBe(true);
    expect(cut?.ids.length).toBeLessThanOrEqual(EACH_MAX);
  });
});
