import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import {
  A,
  B,
  birth,
  C,
  CONTAINER,
  deathOf,
  NODE,
  OWN,
  RegistryScene,
  rowsOf,
  UID,
} from '../../test/support/registry_scene.ts';

let scene: RegistryScene;

beforeEach(() => {
  scene = new RegistryScene();
});

afterEach(() => scene[Symbol.dispose]());

describe('a known namespace', () => {
  it('is what a scan has found, reported once for each change', () => {
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect(scene.names).toEqual(['node ', 'netns blue']);
    expect(scene.registry.node).toMatchObject({ id: NODE, isNode: true });
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect(scene.shown).toHaveLength(1);
    expect(scene.registry.owners().map(({ entity, pids }) => [entity.netns, pids])).toEqual([
      [NODE, [1]],
      [A, [5]],
    ]);
    scene.scan([[NODE, [1]]]);
    expect(scene.names).toEqual(['node ']);
    expect(scene.shown).toHaveLength(2);
  });

  it('does not keep the process table of the scan that has found it', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const scan = () => {
      const table = {
        info: (pid: number) => ({ ...scene.table.info(pid), container: () => table.of(pid) }),
        of: (_: number) => undefined,
      };
      scene.scan([[A, [5]]], [A], table);
      return new WeakRef(table);
    };
    const table = scan();
    // A WeakRef keeps its object until the end of the turn.
    await nextTurn();
    collectGarbage();
    expect(table.deref()).toBeUndefined();
    expect(scene.names).toEqual(['process app-5']);
  });

  it('changes its owner while it is young, and keeps it afterwards as long as its oldest process stays', () => {
    scene.scan([[A, [5]]]);
    expect(scene.names).toEqual(['process app-5']);
    scene.containers.set(5, { podUid: UID });
    scene.nowMs += 9_999;
    scene.scan([[A, [5]]]);
    expect(scene.names).toEqual([`pod ${UID}`]);
    scene.containers.clear();
    scene.nowMs += 60_000;
    scene.scan([[A, [5, 6]]]);
    expect(scene.registry.owners()[0]).toMatchObject({ entity: { uid: UID }, pids: [5, 6] });
    scene.scan([[A, [], 'cni-1']]);
    expect(scene.names).toEqual([`pod ${UID}`]);
    expect(scene.registry.mountOf({ id: A, inum: 20, isNode: false })).toBe('/run/nets/cni-1');
  });

  it('is left as it is by a scan that was under way when its end was reported', () => {
    scene.scan([[A, [5], 'blue']]);
    scene.registry.died(deathOf(A));
    scene.registry.found({ id: A, inum: 20, pids: [5], mounts: ['blue'], order: 2 }, false, scene.table);
    scene.registry.judge([], scene.table);
    expect(scene.registry.snapshot()).toEqual([]);
  });

  it('is distinguished by its former processes from another that has its number', () => {
    scene.scan([[A, [5, 6]]]);
    expect(scene.registry.heldBy(20, [6, 7])).toBe(A);
    expect(scene.registry.heldBy(20, [7])).toBeUndefined();
    expect(scene.registry.heldBy(30, [5])).toBeUndefined();
  });
});

describe('several namespaces of one Pod', () => {
  const uids = () => (scene.shown.at(-1) ?? []).map(({ kind, netns, uid }) => [kind, netns, uid]);

  beforeEach(() => {
    for (const pid of [5, 6, 7]) scene.containers.set(pid, { podUid: UID, containerId: CONTAINER });
  });

  it('all belong to it, its home first: the one that was made first, though its processes are younger', () => {
    scene.scan([
      [B, [5]],
      [A, [6]],
    ]);
    expect(uids()).toEqual([
      ['pod', A, UID],
      ['pod', B, UID],
    ]);
  });

  it('one with processes comes before one that is empty and still mounted', () => {
    scene.scan([[A, [5], 'cni-1']]);
    scene.scan([
      [A, [], 'cni-1'],
      [B, [6], 'cni-2'],
    ]);
    expect(uids()).toEqual([
      ['pod', B, UID],
      ['pod', A, UID],
    ]);
    // Later scans must not change the owner.
    scene.nowMs += 60_000;
    scene.scan([
      [A, [], 'cni-1'],
      [B, [6], 'cni-2'],
    ]);
    expect(scene.shown).toHaveLength(2);
  });

  it('those made by an owner that uses the node’s network have the names of their mounts', () => {
    scene.scan([
      [NODE, [1, 5]],
      [A, [6], 'router'],
      [B, [7]],
    ]);
    expect(uids()).toEqual([
      ['node', NODE, ''],
      ['netns', A, ''],
      ['pod', B, UID],
    ]);
    expect(scene.names[1]).toBe('netns router');
  });

  it('they have them if only Kubernetes says that it uses the node’s network, as soon as it does', () => {
    scene.scan([[A, [6], 'router']]);
    expect(scene.names).toEqual([`pod ${UID}`]);
    scene.hostNetwork.set(UID, true);
    scene.registry.judgeAgain();
    expect(scene.names).toEqual(['netns router']);
    scene.hostNetwork.set(UID, false);
    scene.registry.judgeAgain();
    expect(scene.names).toEqual([`pod ${UID}`]);
  });

  it('an owner that was seen on its way into its namespace is at home there', () => {
    scene.registry.born(birth(A));
    scene.scan(
      [
        [NODE, [1, 5]],
        [A, [6], 'cni-1'],
      ],
      [NODE, A],
    );
    expect(scene.names.sort()).toEqual(['netns cni-1', 'node ']);
    scene.scan([
      [NODE, [1]],
      [A, [6], 'cni-1'],
    ]);
    expect(scene.names.sort()).toEqual(['node ', `pod ${UID}`]);
  });

  it('an owner that has visited the node’s network does not count as a user of it', () => {
    scene.scan([
      [NODE, [1, 6]],
      [A, [5], 'cni-1'],
    ]);
    expect(scene.names).toEqual(['node ', `pod ${UID}`]);
  });
});

describe('a namespace that another Pod has entered', () => {
  const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';

  beforeEach(() => {
    scene.containers.set(5, { podUid: OTHER, containerId: OWN.replaceAll('c', 'e') });
    scene.scan([[A, [5], 'cni-1']]);
  });

  it('belongs to the Pod that begins in it', () => {
    scene.registry.born(birth(B, 'ee'.repeat(32), OTHER));
    expect(scene.names).toEqual([`pod ${OTHER}`, `pod ${OTHER}`]);
    scene.registry.born(birth(B));
    expect(scene.names).toEqual([`pod ${OTHER}`, `pod ${UID}`]);
    scene.nowMs += 60_000;
    scene.containers.set(900, { podUid: UID, containerId: CONTAINER });
    scene.scan([
      [A, [5], 'cni-1'],
      [B, [900]],
    ]);
    expect(scene.names).toEqual([`pod ${OTHER}`, `pod ${UID}`]);
  });

  it('belongs to the Pod that is nowhere else, though the other’s own was made later and its process is older', () => {
    scene.containers.set(4, { podUid: OTHER });
    scene.containers.set(900, { podUid: UID });
    scene.scan([
      [C, [5]],
      [B, [4, 900]],
    ]);
    expect(scene.names.sort()).toEqual([`pod ${UID}`, `pod ${OTHER}`]);
    expect(scene.registry.owners().map(({ entity }) => [entity.netns, entity.uid])).toEqual(
      expect.arrayContaining([
        [B, UID],
        [C, OTHER],
      ]),
    );
  });

  it('has its mount’s name again when no process is in it', () => {
    scene.registry.born(birth(B, 'ee'.repeat(32), OTHER));
    scene.scan([
      [A, [5], 'cni-1'],
      [B, [], 'blue'],
    ]);
    expect(scene.names).toEqual([`pod ${OTHER}`, 'netns blue']);
  });

  it('is not searched repeatedly for a known Pod, but is while it is young and has only a guest', () => {
    scene.nowMs += 60_000;
    scene.registry.born(birth(B, 'ee'.repeat(32), OTHER));
    scene.containers.set(900, { podUid: OTHER });
    const both = () =>
      scene.scan([
        [A, [5], 'cni-1'],
        [B, [900]],
      ]);
    both();
    expect(scene.registry.needsScan(rowsOf(A, B))).toBe(true);
    scene.nowMs += 10_000;
    expect(scene.registry.needsScan(rowsOf(A, B))).toBe(false);
  });
});

describe('a Pod inside a container', () => {
  beforeEach(() => scene.containers.set(5, { podUid: UID, containerId: CONTAINER, within: 'ee'.repeat(32) }));

  it('is a Pod where the machine has none of its own', () => {
    scene.scan([[A, [5]]]);
    expect(scene.names).toEqual([`pod ${UID}`]);
  });

  it('is the container if the machine has some, even if that is learnt later', () => {
    scene.scan([[A, [5]]]);
    scene.containers.set(6, { podUid: '9f9f9f9f-1111-2222-3333-444455556666' });
    scene.nowMs += 60_000;
    scene.scan([
      [A, [5]],
      [B, [6]],
    ]);
    expect(scene.names[0]).toBe(`container ${'e'.repeat(12)}`);
  });
});

it('the name of a process or a mount is replaced by the Pod’s, even if that is seen late', () => {
  scene.scan([[A, [5], 'cni-1']]);
  scene.nowMs += 60_000;
  // The process of the CNI plugin still exists, and a process of the Pod entered the namespace without calling
  // execve().
  scene.containers.set(6, { podUid: UID });
  scene.scan([[A, [5, 6], 'cni-1']]);
  expect(scene.names).toEqual([`pod ${UID}`]);
});

it('a namespace that is mounted twice keeps the name that it has', () => {
  scene.scan([[A, [], 'green']]);
  scene.scan([[A, [], 'blue', 'green']]);
  expect(scene.names).toEqual(['netns green']);
  scene.scan([[A, [], 'blue']]);
  expect(scene.names).toEqual(['netns blue']);
});

describe('a birth', () => {
  it('names a Pod before any scan, and is not undone by a scan that saw less', () => {
    scene.registry.born(birth(A));
    expect(scene.names).toEqual([`pod ${UID}`]);
    scene.scan([[A, [900], 'cni-1']]);
    expect(scene.names).toEqual([`pod ${UID}`]);
    expect(scene.shown).toHaveLength(1);
  });

  it('replaces the name of a mount, but not of a container', () => {
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    scene.registry.born(birth(A));
    expect(scene.names).toEqual(['node ', `pod ${UID}`]);
    scene.registry.born(birth(A, 'ef'.repeat(32)));
    scene.registry.born(birth(NODE));
    expect(scene.shown).toHaveLength(2);
  });

  it("has no owner in the agent's own container, outside scene.containers, and after the end", () => {
    scene.registry.born(birth(A, OWN));
    scene.registry.born({ ...birth(A), folders: { pod: '', container: '', outer: '' } });
    expect(scene.registry.snapshot()).toEqual([]);
    scene.registry.born(birth(A));
    scene.registry.died(deathOf(A));
    scene.registry.born(birth(A));
    expect(scene.registry.snapshot()).toEqual([]);
  });

  it('is known before the machine is looked at, even if it waits in the queue, and the watcher is called after it', () => {
    const order: string[] = [];
    const listening = scene.registry.listen({
      drain: () => {
        order.push('drain');
        scene.registry.born(birth(A));
      },
    });
    using _ = scene.registry.watch({
      retireMs: 0,
      retireShare: 0.25,
      beforeLook: () => order.push('look'),
      departed: () => undefined,
      died: () => undefined,
    });
    expect(scene.registry.beforeLook()).toEqual([A]);
    listening[Symbol.dispose]();
    scene.registry.beforeLook();
    expect(order).toEqual(['drain', 'look', 'look']);
  });

  it('makes the namespace owned', () => {
    scene.scan([], [A]);
    expect(scene.registry.unowned).toBe(1);
    scene.registry.born(birth(A));
    expect(scene.registry.unowned).toBe(0);
  });
});

describe('a namespace is new', () => {
  it('where it did not exist at the first look, for ten seconds', () => {
    scene.scan([[A, [5]]]);
    scene.nowMs += 1_000;
    scene.scan([
      [A, [5]],
      [B, [6]],
    ]);
    expect([A, B].map((id) => scene.registry.isNew(id))).toEqual([false, true]);
    scene.nowMs += 10_000;
    expect(scene.registry.isNew(B)).toBe(false);
  });

  it('where it was listed without an owner a moment ago, but not long ago', () => {
    scene.scan([[NODE, [1]]], [NODE, A]);
    scene.nowMs += 1_000;
    scene.scan([[NODE, [1]]], [NODE, A, B]);
    scene.nowMs += 1_000;
    scene.scan([
      [NODE, [1]],
      [A, [5]],
      [B, [6]],
    ]);
    expect([A, B].map((id) => scene.registry.isNew(id))).toEqual([false, true]);
  });

  it('where the kernel reported its birth, unless it returns', () => {
    scene.scan([[NODE, [1]]]);
    scene.nowMs += 1_000;
    scene.registry.born(birth(A));
    expect(scene.registry.isNew(A)).toBe(true);
    scene.scan([[NODE, [1]]], [NODE, A]);
    scene.registry.born(birth(A));
    expect(scene.registry.isNew(A)).toBe(false);
  });
});

describe('a scan is needed', () => {
  it('for a new namespace, and for the first seconds of one without an owner', () => {
    expect(scene.registry.needsScan(rowsOf(A))).toBe(true);
    scene.scan([[A, [5], 'blue']], [A, B]);
    expect(scene.registry.needsScan(rowsOf(A, B))).toBe(true);
    scene.nowMs += 10_000;
    expect(scene.registry.needsScan(rowsOf(A, B))).toBe(false);
  });

  it('once after a birth, which reports less than a scan', () => {
    scene.scan([[NODE, [1]]]);
    scene.registry.born(birth(A));
    expect(scene.registry.needsScan(rowsOf(NODE, A))).toBe(true);
    scene.scan([
      [NODE, [1]],
      [A, [900]],
    ]);
    expect(scene.registry.needsScan(rowsOf(NODE, A))).toBe(false);
  });

  it('when a process has left the namespace in which it was seen', () => {
    scene.scan([[A, [5, 6]]]);
    scene.nowMs += 10_000;
    const entry = { id: A, inum: 20, isNode: false };
    for (const [pid, inum] of [
      [5, 99],
      [6, 20],
    ]) {
      mkdirSync(join(scene.proc, `${pid}/ns`), { recursive: true });
      symlinkSync(`net:[${inum}]`, join(scene.proc, `${pid}/ns/net`));
    }
    expect(scene.registry.needsScan(rowsOf(A))).toBe(false);
    expect(scene.registry.locate(entry)).toBe(join(scene.proc, '6'));
    expect(scene.registry.needsScan(rowsOf(A))).toBe(true);
    scene.registry.scanBegins();
    expect(scene.registry.needsScan(rowsOf(A))).toBe(false);
  });
});

it('a flood of namespaces that only processes name is shown up to a limit, and reported', () => {
  const flood = Array.from({ length: 300 }, (_, index) => [asNetnsId(1_000 + index), [index + 10]] as const);
  scene.scan([[A, [5], 'blue'], ...flood]);
  expect(scene.shown.at(-1)?.filter(({ kind }) => kind === 'process')).toHaveLength(256);
  expect(scene.shown.at(-1)?.map(({ pod }) => pod)).toContain('blue');
  expect(scene.registry.crowd).toBe(
    '44 namespaces that are named after a process are not shown, because the limit is 256',
  );
  // Samples of namespaces beyond the limit count as unowned.
  expect([scene.registry.isUnowned(asNetnsId(1_299)), scene.registry.wasOwned(asNetnsId(1_299))]).toEqual([
    true,
    false,
  ]);
  scene.scan([[A, [5], 'blue']]);
  expect(scene.registry.crowd).toBeUndefined();
});

it('a namespace is searched for an owner only while it is young', () => {
  scene.scan([[A, [5], 'blue']], [A, B]);
  expect([scene.registry.isUnowned(A), scene.registry.isUnowned(B), scene.registry.isIgnored(B)]).toEqual([
    false,
    false,
    true,
  ]);
  scene.nowMs += 10_001;
  expect([scene.registry.isUnowned(A), scene.registry.isUnowned(B)]).toEqual([false, true]);
});

it('a namespace without an owner is unowned at once, and so is one of a crowd', () => {
  scene.scan([[A, [5], 'blue']], [A, B]);
  expect([scene.registry.isNobodys(A), scene.registry.isNobodys(B), scene.registry.isNobodys(C)]).toEqual([
    false,
    true,
    false,
  ]);
  scene.scan([
    [A, [5], 'blue'],
    [B, [6]],
  ]);
  expect(scene.registry.isNobodys(B)).toBe(false);
  const flood = Array.from({ length: 300 }, (_, index) => [asNetnsId(1_000 + index), [index + 10]] as const);
  scene.scan([[A, [5], 'blue'], ...flood]);
  expect([scene.registry.isNobodys(asNetnsId(1_000)), scene.registry.isNobodys(asNetnsId(1_299))]).toEqual([
    false,
    true,
  ]);
});
