import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import type { NetnsDeath, NetnsDeparture } from '#probe/life.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { ContainerRef } from './cgroup.ts';
import type { Entity } from './entity.ts';
import { NetnsRegistry } from './registry.ts';
import { RETIRED_MIN } from './retired.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const CONTAINER = 'ab'.repeat(32);
const OWN = 'cd'.repeat(32);

const [NODE, A, B, C] = [1, 2, 3, 4].map(asNetnsId) as [NetnsId, NetnsId, NetnsId, NetnsId];

let proc: string;
let nowMs: number;
let shown: readonly Entity[][];
let registry: NetnsRegistry;
let containers: Map<number, ContainerRef>;
let hostNetwork: Map<string, boolean>;

beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), 'registry-'));
  mkdirSync(join(proc, 'self'));
  writeFileSync(join(proc, 'self/cgroup'), `0::/docker/${OWN}\n`);
  nowMs = 1_000;
  shown = [];
  containers = new Map();
  hostNetwork = new Map();
  registry = new NetnsRegistry(
    { ...DEFAULT_PATHS, proc, netns: '/run/nets' },
    (entities) => {
      shown = [...shown, [...entities]];
    },
    (uid) => hostNetwork.get(uid),
    () => nowMs,
  );
});

afterEach(() => rmSync(proc, { recursive: true }));

function rowsOf(...ids: readonly NetnsId[]): NetnsRow[] {
  return ids.map((id) => ({ id, inum: Number(id) * 10, initial: false }));
}

const table = {
  info: (pid: number) => ({ pid, comm: 'app', startSeconds: pid, container: () => containers.get(pid) }),
};

/** Simulates a scan that finds these namespaces with their processes and mount names. */
function scan(
  places: readonly (readonly [NetnsId, readonly number[], ...string[]])[],
  live = places.map(([id]) => id),
) {
  const before = registry.beforeLook();
  registry.removeDead(before, rowsOf(...live));
  registry.scanBegins();
  for (const [id, pids, ...mounts] of places) {
    registry.found({ id, inum: Number(id) * 10, pids, mounts, order: Number(id) }, id === NODE, table);
  }
  registry.judge(places.find(([id]) => id === NODE)?.[1] ?? [], table);
  registry.removeMissing(before, new Set(places.map(([id]) => id)));
  registry.noteUnowned(rowsOf(...live));
  registry.afterLook(rowsOf(...live));
}

function birth(id: NetnsId, container = CONTAINER, uid = UID) {
  return {
    id,
    inum: Number(id) * 10,
    pid: 900,
    startSeconds: 9,
    folders: { pod: `pod${uid}`, container, outer: '' },
  };
}

function deathOf(id: NetnsId): NetnsDeath {
  return { id, row: new Uint8Array(), timeNs: 0n, bootSeconds: 0 };
}

function names(): string[] {
  return (shown.at(-1) ?? []).map(({ kind, pod, isRetired }) => `${kind} ${pod}${isRetired ? ' retired' : ''}`);
}

describe('a known namespace', () => {
  it('is what a scan has found, reported once for each change', () => {
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect(names()).toEqual(['node ', 'netns blue']);
    expect(registry.node).toMatchObject({ id: NODE, isNode: true });
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect(shown).toHaveLength(1);
    expect(registry.owners().map(({ entity, pids }) => [entity.netns, pids])).toEqual([
      [NODE, [1]],
      [A, [5]],
    ]);
    scan([[NODE, [1]]]);
    expect(names()).toEqual(['node ']);
    expect(shown).toHaveLength(2);
  });

  it('changes its owner while it is young, and keeps it afterwards as long as its oldest process stays', () => {
    scan([[A, [5]]]);
    expect(names()).toEqual(['process app-5']);
    containers.set(5, { podUid: UID });
    nowMs += 9_999;
    scan([[A, [5]]]);
    expect(names()).toEqual([`pod ${UID}`]);
    containers.clear();
    nowMs += 60_000;
    scan([[A, [5, 6]]]);
    expect(registry.owners()[0]).toMatchObject({ entity: { uid: UID }, pids: [5, 6] });
    scan([[A, [], 'cni-1']]);
    expect(names()).toEqual([`pod ${UID}`]);
    expect(registry.mountOf({ id: A, inum: 20, isNode: false })).toBe('/run/nets/cni-1');
  });

  it('is left as it is by a scan that was under way when its end was reported', () => {
    scan([[A, [5], 'blue']]);
    registry.died(deathOf(A));
    registry.found({ id: A, inum: 20, pids: [5], mounts: ['blue'], order: 2 }, false, table);
    registry.judge([], table);
    expect(registry.snapshot()).toEqual([]);
  });

  it('is distinguished by its former processes from another that has its number', () => {
    scan([[A, [5, 6]]]);
    expect(registry.heldBy(20, [6, 7])).toBe(A);
    expect(registry.heldBy(20, [7])).toBeUndefined();
    expect(registry.heldBy(30, [5])).toBeUndefined();
  });
});

describe('several namespaces of one Pod', () => {
  const uids = () => (shown.at(-1) ?? []).map(({ kind, netns, uid }) => [kind, netns, uid]);

  beforeEach(() => {
    for (const pid of [5, 6, 7]) containers.set(pid, { podUid: UID, containerId: CONTAINER });
  });

  it('all belong to it, its home first: the one that was made first, though its processes are younger', () => {
    scan([
      [B, [5]],
      [A, [6]],
    ]);
    expect(uids()).toEqual([
      ['pod', A, UID],
      ['pod', B, UID],
    ]);
  });

  it('one with processes comes before one that is empty and still mounted', () => {
    scan([[A, [5], 'cni-1']]);
    scan([
      [A, [], 'cni-1'],
      [B, [6], 'cni-2'],
    ]);
    expect(uids()).toEqual([
      ['pod', B, UID],
      ['pod', A, UID],
    ]);
    // Later scans must not change the owner.
    nowMs += 60_000;
    scan([
      [A, [], 'cni-1'],
      [B, [6], 'cni-2'],
    ]);
    expect(shown).toHaveLength(2);
  });

  it('those made by an owner that uses the node’s network have the names of their mounts', () => {
    scan([
      [NODE, [1, 5]],
      [A, [6], 'router'],
      [B, [7]],
    ]);
    expect(uids()).toEqual([
      ['node', NODE, ''],
      ['netns', A, ''],
      ['pod', B, UID],
    ]);
    expect(names()[1]).toBe('netns router');
  });

  it('they have them if only Kubernetes says that it uses the node’s network, as soon as it does', () => {
    scan([[A, [6], 'router']]);
    expect(names()).toEqual([`pod ${UID}`]);
    hostNetwork.set(UID, true);
    registry.judgeAgain();
    expect(names()).toEqual(['netns router']);
    hostNetwork.set(UID, false);
    registry.judgeAgain();
    expect(names()).toEqual([`pod ${UID}`]);
  });

  it('an owner that was seen on its way into its namespace is at home there', () => {
    registry.born(birth(A));
    scan(
      [
        [NODE, [1, 5]],
        [A, [6], 'cni-1'],
      ],
      [NODE, A],
    );
    expect(names().sort()).toEqual(['netns cni-1', 'node ']);
    scan([
      [NODE, [1]],
      [A, [6], 'cni-1'],
    ]);
    expect(names().sort()).toEqual(['node ', `pod ${UID}`]);
  });

  it('an owner that has visited the node’s network does not count as a user of it', () => {
    scan([
      [NODE, [1, 6]],
      [A, [5], 'cni-1'],
    ]);
    expect(names()).toEqual(['node ', `pod ${UID}`]);
  });
});

describe('a namespace that another Pod has entered', () => {
  const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';

  beforeEach(() => {
    containers.set(5, { podUid: OTHER, containerId: OWN.replaceAll('c', 'e') });
    scan([[A, [5], 'cni-1']]);
  });

  it('belongs to the Pod that begins in it', () => {
    registry.born(birth(B, 'ee'.repeat(32), OTHER));
    expect(names()).toEqual([`pod ${OTHER}`, `pod ${OTHER}`]);
    registry.born(birth(B));
    expect(names()).toEqual([`pod ${OTHER}`, `pod ${UID}`]);
    nowMs += 60_000;
    containers.set(900, { podUid: UID, containerId: CONTAINER });
    scan([
      [A, [5], 'cni-1'],
      [B, [900]],
    ]);
    expect(names()).toEqual([`pod ${OTHER}`, `pod ${UID}`]);
  });

  it('belongs to the Pod that is nowhere else, though the other’s own was made later and its process is older', () => {
    containers.set(4, { podUid: OTHER });
    containers.set(900, { podUid: UID });
    scan([
      [C, [5]],
      [B, [4, 900]],
    ]);
    expect(names().sort()).toEqual([`pod ${UID}`, `pod ${OTHER}`]);
    expect(registry.owners().map(({ entity }) => [entity.netns, entity.uid])).toEqual(
      expect.arrayContaining([
        [B, UID],
        [C, OTHER],
      ]),
    );
  });

  it('has its mount’s name again when no process is in it', () => {
    registry.born(birth(B, 'ee'.repeat(32), OTHER));
    scan([
      [A, [5], 'cni-1'],
      [B, [], 'blue'],
    ]);
    expect(names()).toEqual([`pod ${OTHER}`, 'netns blue']);
  });

  it('is not searched repeatedly for a known Pod, but is while it is young and has only a guest', () => {
    nowMs += 60_000;
    registry.born(birth(B, 'ee'.repeat(32), OTHER));
    containers.set(900, { podUid: OTHER });
    const both = () =>
      scan([
        [A, [5], 'cni-1'],
        [B, [900]],
      ]);
    both();
    expect(registry.needsScan(rowsOf(A, B))).toBe(true);
    nowMs += 10_000;
    expect(registry.needsScan(rowsOf(A, B))).toBe(false);
  });
});

describe('a Pod inside a container', () => {
  beforeEach(() => containers.set(5, { podUid: UID, containerId: CONTAINER, within: 'ee'.repeat(32) }));

  it('is a Pod where the machine has none of its own', () => {
    scan([[A, [5]]]);
    expect(names()).toEqual([`pod ${UID}`]);
  });

  it('is the container if the machine has some, even if that is learnt later', () => {
    scan([[A, [5]]]);
    containers.set(6, { podUid: '9f9f9f9f-1111-2222-3333-444455556666' });
    nowMs += 60_000;
    scan([
      [A, [5]],
      [B, [6]],
    ]);
    expect(names()[0]).toBe(`container ${'e'.repeat(12)}`);
  });
});

it('the name of a process or a mount is replaced by the Pod’s, even if that is seen late', () => {
  scan([[A, [5], 'cni-1']]);
  nowMs += 60_000;
  // The plugin's process still exists, and the Pod's process entered the namespace without calling execve().
  containers.set(6, { podUid: UID });
  scan([[A, [5, 6], 'cni-1']]);
  expect(names()).toEqual([`pod ${UID}`]);
});

it('a namespace that is mounted twice keeps the name that it has', () => {
  scan([[A, [], 'green']]);
  scan([[A, [], 'blue', 'green']]);
  expect(names()).toEqual(['netns green']);
  scan([[A, [], 'blue']]);
  expect(names()).toEqual(['netns blue']);
});

describe('a birth', () => {
  it('names a Pod before any scan, and is not undone by a scan that saw less', () => {
    registry.born(birth(A));
    expect(names()).toEqual([`pod ${UID}`]);
    scan([[A, [900], 'cni-1']]);
    expect(names()).toEqual([`pod ${UID}`]);
    expect(shown).toHaveLength(1);
  });

  it('replaces the name of a mount, but not of a container', () => {
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    registry.born(birth(A));
    expect(names()).toEqual(['node ', `pod ${UID}`]);
    registry.born(birth(A, 'ef'.repeat(32)));
    registry.born(birth(NODE));
    expect(shown).toHaveLength(2);
  });

  it("has no owner in the agent's own container, outside containers, and after the end", () => {
    registry.born(birth(A, OWN));
    registry.born({ ...birth(A), folders: { pod: '', container: '', outer: '' } });
    expect(registry.snapshot()).toEqual([]);
    registry.born(birth(A));
    registry.died(deathOf(A));
    registry.born(birth(A));
    expect(registry.snapshot()).toEqual([]);
  });

  it('is known before the machine is looked at, even if it waits in the queue, and the watcher is called after it', () => {
    const order: string[] = [];
    const listening = registry.listen({
      drain: () => {
        order.push('drain');
        registry.born(birth(A));
      },
    });
    using _ = registry.watch({
      retireMs: 0,
      retireShare: 0.25,
      beforeLook: () => order.push('look'),
      departed: () => undefined,
      died: () => undefined,
    });
    expect(registry.beforeLook()).toEqual([A]);
    listening[Symbol.dispose]();
    registry.beforeLook();
    expect(order).toEqual(['drain', 'look', 'look']);
  });

  it('makes the namespace owned', () => {
    scan([], [A]);
    expect(registry.unowned).toBe(1);
    registry.born(birth(A));
    expect(registry.unowned).toBe(0);
  });
});

describe('a namespace is new', () => {
  it('where it did not exist at the first look, for ten seconds', () => {
    scan([[A, [5]]]);
    nowMs += 1_000;
    scan([
      [A, [5]],
      [B, [6]],
    ]);
    expect([A, B].map((id) => registry.isNew(id))).toEqual([false, true]);
    nowMs += 10_000;
    expect(registry.isNew(B)).toBe(false);
  });

  it('where it was listed without an owner a moment ago, but not long ago', () => {
    scan([[NODE, [1]]], [NODE, A]);
    nowMs += 1_000;
    scan([[NODE, [1]]], [NODE, A, B]);
    nowMs += 1_000;
    scan([
      [NODE, [1]],
      [A, [5]],
      [B, [6]],
    ]);
    expect([A, B].map((id) => registry.isNew(id))).toEqual([false, true]);
  });

  it('where the kernel reported its birth, unless it returns', () => {
    scan([[NODE, [1]]]);
    nowMs += 1_000;
    registry.born(birth(A));
    expect(registry.isNew(A)).toBe(true);
    scan([[NODE, [1]]], [NODE, A]);
    registry.born(birth(A));
    expect(registry.isNew(A)).toBe(false);
  });
});

describe('the dead', () => {
  it('are remembered by name, and their samples are not unknown', () => {
    registry.born(birth(A));
    scan([], []);
    expect(registry.lastKnown(A)).toMatchObject({ kind: 'pod', uid: UID });
    expect(registry.isIgnored(A)).toBe(true);
    expect(registry.isIgnored(B)).toBe(false);
    expect(names()).toEqual([]);
  });

  it('are remembered up to a limit, the oldest goes first', () => {
    for (let id = 10; id < 10 + 4_097; id++) {
      registry.born(birth(asNetnsId(id)));
      registry.died(deathOf(asNetnsId(id)));
    }
    expect(registry.lastKnown(asNetnsId(10))).toBeUndefined();
    expect(registry.lastKnown(asNetnsId(11))).toBeDefined();
    expect(registry.lastKnown(asNetnsId(4_106))).toBeDefined();
  });

  it('of one owner do not displace those of others', () => {
    registry.born(birth(A));
    registry.died(deathOf(A));
    const other = { pod: 'pod0f0f0f0f-9999-2222-3333-444455556666', container: '', outer: '' };
    for (let id = 100; id < 100 + 5_000; id++) {
      registry.born({ ...birth(asNetnsId(id)), folders: other });
      registry.died(deathOf(asNetnsId(id)));
    }
    expect(registry.lastKnown(A)).toBeDefined();
  });

  it('are known by name even if they end during the scan that finds them', () => {
    containers.set(900, { podUid: UID });
    registry.found({ id: A, inum: 20, pids: [900], mounts: [], order: 2 }, false, table);
    registry.born(birth(A));
    registry.died(deathOf(A));
    registry.judge([], table);
    expect(registry.lastKnown(A)).toMatchObject({ kind: 'pod', uid: UID });
    expect(registry.owners()).toEqual([]);
  });

  it('include those without processes that the kernel still lists, and may come back', () => {
    scan([[A, [5], 'blue']]);
    scan([], [A]);
    expect(registry.lastKnown(A)).toMatchObject({ pod: 'blue' });
    expect(registry.unowned).toBe(1);
    scan([[A, [5], 'blue']]);
    expect(names()).toEqual(['netns blue']);
    expect(registry.unowned).toBe(0);
  });
});

describe('the retired', () => {
  let departures: NetnsDeparture[];
  let deaths: { death: NetnsDeath; isShown: boolean }[];
  let looks: number;
  let watching: Disposable;

  beforeEach(() => {
    departures = [];
    deaths = [];
    looks = 0;
    watching = registry.watch({
      retireMs: 5_000,
      retireShare: 0.25,
      beforeLook: () => {
        looks++;
      },
      departed: (departure) => departures.push(departure),
      died: (death, isShown) => deaths.push({ death, isShown }),
    });
  });

  /** Returns whether the watcher learns that the removed namespace is still shown. */
  function isShownAtDeath(id: NetnsId): boolean | undefined {
    deaths = [];
    registry.died(deathOf(id));
    return deaths[0]?.isShown;
  }

  it('depart when their time is over, also from a namespace that lives on, which is unowned from then on', () => {
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    // The namespace has lost its name and its process, but something else keeps it alive.
    scan([[NODE, [1]]], [NODE, A]);
    expect([registry.retired.size, registry.hasDeparted(A), registry.isNobodys(A)]).toEqual([1, false, false]);
    nowMs += 5_001;
    scan([[NODE, [1]]], [NODE, A]);
    expect([registry.retired.size, registry.hasDeparted(A), registry.isNobodys(A)]).toEqual([0, true, true]);
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect([registry.hasDeparted(A), registry.isNobodys(A)]).toEqual([false, false]);
  });

  it('are shown for their time, after the living', () => {
    scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    scan([[NODE, [1]]]);
    expect(departures).toEqual([{ id: A, kind: 'netns', uid: '', name: 'blue', startSeconds: 5 }]);
    expect(names()).toEqual(['node ', 'netns blue retired']);
    expect(registry.retired.size).toBe(1);
    expect(isShownAtDeath(A)).toBe(true);
    nowMs += 4_999;
    scan([[NODE, [1]]]);
    expect(names()).toHaveLength(2);
    nowMs += 1;
    scan([[NODE, [1]]]);
    expect(names()).toEqual(['node ']);
    expect(isShownAtDeath(A)).toBe(false);
    expect(looks).toBe(4);
  });

  it('are at most their share once their losses are known', () => {
    const all = Array.from({ length: 40 }, (_, index) => asNetnsId(1_000 + index));
    const lost = all[0];
    scan([[NODE, [1]], ...all.map((id, index): [NetnsId, number[], string] => [id, [], `job-${index}`])]);
    scan([[NODE, [1]]]);
    expect(registry.retired.size).toBe(all.length);
    const notified = shown.length;
    registry.chooseRetired(() => undefined, false);
    expect(shown).toHaveLength(notified);
    registry.chooseRetired((id) => (id === lost ? 'loss' : 'nothing'), false);
    expect(names()).toHaveLength(1 + RETIRED_MIN);
    expect(names()).toContain('netns job-0 retired');
    expect(names()).toContain('netns job-39 retired');
    expect(names()).not.toContain('netns job-1 retired');
    expect(registry.retired.dropped).toBe(all.length - RETIRED_MIN);
    registry.chooseRetired((id) => (id === lost ? 'loss' : 'nothing'), true);
    expect(names()).toEqual(['node ', 'netns job-0 retired']);
    expect(registry.retired.passedOver).toBe(RETIRED_MIN - 1);
  });

  it('exclude those that only a process named, and are none without a watcher', () => {
    scan([
      [NODE, [1]],
      [A, [5]],
    ]);
    scan([[NODE, [1]]]);
    expect(departures).toEqual([]);
    registry.born(birth(B));
    registry.died(deathOf(B));
    expect(registry.retired.size).toBe(1);
    watching[Symbol.dispose]();
    expect(names()).toEqual(['node ']);
    registry.born(birth(C));
    registry.died(deathOf(C));
    expect(registry.retired.size).toBe(0);
    expect(departures.map(({ id }) => id)).toEqual([B]);
  });

  it('depart with their own namespace, not with one that they had made or entered', () => {
    for (const pid of [5, 6, 7]) containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scan([
      [A, [5]],
      [B, [6]],
    ]);
    registry.died(deathOf(B));
    expect(departures).toEqual([]);
    scan([
      [A, [5]],
      [C, [7]],
    ]);
    registry.died(deathOf(A));
    expect(departures).toMatchObject([{ id: A, uid: UID }]);
  });

  it('exclude those that have a new home when the old one goes', () => {
    for (const pid of [5, 6]) containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scan([[A, [5], 'cni-1']]);
    scan([
      [A, [], 'cni-1'],
      [B, [6]],
    ]);
    registry.died(deathOf(A));
    expect(departures).toEqual([]);
    registry.died(deathOf(B));
    expect(departures).toMatchObject([{ id: B, uid: UID }]);
  });

  it('exclude those that use the node’s network and have made a namespace', () => {
    for (const pid of [5, 6]) containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scan([
      [NODE, [1, 5]],
      [A, [6]],
    ]);
    expect(names()).toEqual(['node ', `pod ${UID}`]);
    registry.died(deathOf(A));
    expect(departures).toEqual([]);
  });

  it('exclude those that come back', () => {
    scan([[A, [5], 'blue']]);
    scan([], [A]);
    expect(names()).toEqual(['netns blue retired']);
    registry.born(birth(A));
    expect(names()).toEqual([`pod ${UID}`]);
  });

  it('are not swept before their time is over', () => {
    const gone: NetnsId[][] = [];
    registry.onSweep((isDead) => gone.push([A, B].filter(isDead)));
    registry.born(birth(A));
    registry.died(deathOf(A));
    for (let look = 0; look < 4; look++) {
      scan([[B, [5], 'blue']]);
      nowMs += 5_000;
    }
    expect(gone).toEqual([[], [A], [A], [A]]);
  });
});

it('a namespace is swept when two sweeps have not seen it alive, at most every five seconds', () => {
  const gone: NetnsId[][] = [];
  const sweeping = registry.onSweep((isDead) => gone.push([A, B].filter(isDead)));
  const later = (ms: number, ...live: readonly NetnsId[]) => {
    nowMs += ms;
    registry.afterLook(rowsOf(...live));
  };
  later(0, A, B);
  later(4_999, B);
  later(1, B);
  later(5_000, B);
  expect(gone).toEqual([[], [], [A]]);
  sweeping[Symbol.dispose]();
  later(5_000);
  expect(gone).toHaveLength(3);
});

describe('a scan is needed', () => {
  it('for a new namespace, and for the first seconds of one without an owner', () => {
    expect(registry.needsScan(rowsOf(A))).toBe(true);
    scan([[A, [5], 'blue']], [A, B]);
    expect(registry.needsScan(rowsOf(A, B))).toBe(true);
    nowMs += 10_000;
    expect(registry.needsScan(rowsOf(A, B))).toBe(false);
  });

  it('once after a birth, which reports less than a scan', () => {
    scan([[NODE, [1]]]);
    registry.born(birth(A));
    expect(registry.needsScan(rowsOf(NODE, A))).toBe(true);
    scan([
      [NODE, [1]],
      [A, [900]],
    ]);
    expect(registry.needsScan(rowsOf(NODE, A))).toBe(false);
  });

  it('when a process has left the namespace in which it was seen', () => {
    scan([[A, [5, 6]]]);
    nowMs += 10_000;
    const entry = { id: A, inum: 20, isNode: false };
    for (const [pid, inum] of [
      [5, 99],
      [6, 20],
    ]) {
      mkdirSync(join(proc, `${pid}/ns`), { recursive: true });
      symlinkSync(`net:[${inum}]`, join(proc, `${pid}/ns/net`));
    }
    expect(registry.needsScan(rowsOf(A))).toBe(false);
    expect(registry.locate(entry)).toBe(join(proc, '6'));
    expect(registry.needsScan(rowsOf(A))).toBe(true);
    registry.scanBegins();
    expect(registry.needsScan(rowsOf(A))).toBe(false);
  });
});

it('a flood of namespaces that only processes name is shown up to a limit, and reported', () => {
  const flood = Array.from({ length: 300 }, (_, index) => [asNetnsId(1_000 + index), [index + 10]] as const);
  scan([[A, [5], 'blue'], ...flood]);
  expect(shown.at(-1)?.filter(({ kind }) => kind === 'process')).toHaveLength(256);
  expect(shown.at(-1)?.map(({ pod }) => pod)).toContain('blue');
  expect(registry.crowd).toBe('44 namespaces that are named after a process are not shown, because the limit is 256');
  // The samples of namespaces beyond the limit are unowned.
  expect([registry.isUnowned(asNetnsId(1_299)), registry.wasOwned(asNetnsId(1_299))]).toEqual([true, false]);
  scan([[A, [5], 'blue']]);
  expect(registry.crowd).toBeUndefined();
});

it('a namespace is searched for an owner only while it is young', () => {
  scan([[A, [5], 'blue']], [A, B]);
  expect([registry.isUnowned(A), registry.isUnowned(B), registry.isIgnored(B)]).toEqual([false, false, true]);
  nowMs += 10_001;
  expect([registry.isUnowned(A), registry.isUnowned(B)]).toEqual([false, true]);
});

it('a namespace without an owner is unowned at once, and so is one of a crowd', () => {
  scan([[A, [5], 'blue']], [A, B]);
  expect([registry.isNobodys(A), registry.isNobodys(B), registry.isNobodys(C)]).toEqual([false, true, false]);
  scan([
    [A, [5], 'blue'],
    [B, [6]],
  ]);
  expect(registry.isNobodys(B)).toBe(false);
  const flood = Array.from({ length: 300 }, (_, index) => [asNetnsId(1_000 + index), [index + 10]] as const);
  scan([[A, [5], 'blue'], ...flood]);
  expect([registry.isNobodys(asNetnsId(1_000)), registry.isNobodys(asNetnsId(1_299))]).toEqual([false, true]);
});
