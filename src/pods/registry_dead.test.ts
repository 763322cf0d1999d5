import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NetnsDeath, NetnsDeparture } from '#probe/life.ts';
import {
  A,
  B,
  birth,
  C,
  CONTAINER,
  deathOf,
  NODE,
  RegistryScene,
  rowsOf,
  UID,
} from '../../test/support/registry_scene.ts';
import { REMEMBERED_MS } from './dead.ts';
import { RETIRED_MIN } from './retired.ts';

let scene: RegistryScene;

beforeEach(() => {
  scene = new RegistryScene();
});

afterEach(() => scene[Symbol.dispose]());

describe('the dead', () => {
  it('are remembered by name, and their samples are not unknown', () => {
    scene.registry.born(birth(A));
    scene.scan([], []);
    expect(scene.registry.lastKnown(A)).toMatchObject({ kind: 'pod', uid: UID });
    expect(scene.registry.isIgnored(A)).toBe(true);
    expect(scene.registry.isIgnored(B)).toBe(false);
    expect(scene.names).toEqual([]);
  });

  it('are remembered up to a limit, the oldest goes first', () => {
    for (let id = 10; id < 10 + 4_097; id++) {
      scene.registry.born(birth(asNetnsId(id)));
      scene.registry.died(deathOf(asNetnsId(id)));
    }
    expect(scene.registry.lastKnown(asNetnsId(10))).toBeUndefined();
    expect(scene.registry.lastKnown(asNetnsId(11))).toBeDefined();
    expect(scene.registry.lastKnown(asNetnsId(4_106))).toBeDefined();
  });

  it('are forgotten a quarter of an hour after the kernel has listed them last', () => {
    const ids = Array.from({ length: 100 }, (_, index) => asNetnsId(10 + index));
    for (const id of [A, ...ids]) scene.registry.born(birth(id));
    scene.scan([[NODE, [1]]], [NODE, A]);
    const remembered = () => [A, ...ids].filter((id) => scene.registry.wasOwned(id)).length;
    const pass = (ms: number, ...live: readonly NetnsId[]) => {
      scene.nowMs += ms;
      scene.registry.afterLook(rowsOf(...live));
      return remembered();
    };
    expect([pass(REMEMBERED_MS - 1, NODE, A), pass(1, NODE, A)]).toEqual([101, 1]);
    expect(ids.map((id) => scene.registry.lastKnown(id))).toEqual(ids.map(() => undefined));
    // Something else than a process keeps the namespace alive.
    expect(pass(REMEMBERED_MS, NODE, A)).toBe(1);
    scene.scan([[NODE, [1]]], [NODE]);
    expect([pass(REMEMBERED_MS - 1, NODE), pass(1, NODE)]).toEqual([1, 0]);
  });

  it('of one owner do not displace those of others', () => {
    scene.registry.born(birth(A));
    scene.registry.died(deathOf(A));
    const other = { pod: 'pod0f0f0f0f-9999-2222-3333-444455556666', container: '', outer: '' };
    for (let id = 100; id < 100 + 5_000; id++) {
      scene.registry.born({ ...birth(asNetnsId(id)), folders: other });
      scene.registry.died(deathOf(asNetnsId(id)));
    }
    expect(scene.registry.lastKnown(A)).toBeDefined();
  });

  it('are known by name even if they end during the scan that finds them', () => {
    scene.containers.set(900, { podUid: UID });
    scene.registry.found({ id: A, inum: 20, pids: [900], mounts: [], order: 2 }, false, scene.table);
    scene.registry.born(birth(A));
    scene.registry.died(deathOf(A));
    scene.registry.judge([], scene.table);
    expect(scene.registry.lastKnown(A)).toMatchObject({ kind: 'pod', uid: UID });
    expect(scene.registry.owners()).toEqual([]);
  });

  it('include those without processes that the kernel still lists, and may come back', () => {
    scene.scan([[A, [5], 'blue']]);
    scene.scan([], [A]);
    expect(scene.registry.lastKnown(A)).toMatchObject({ pod: 'blue' });
    expect(scene.registry.unowned).toBe(1);
    scene.scan([[A, [5], 'blue']]);
    expect(scene.names).toEqual(['netns blue']);
    expect(scene.registry.unowned).toBe(0);
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
    watching = scene.registry.watch({
      retireMs: 5_000,
      retireShare: 0.25,
      beforeLook: () => {
        looks++;
      },
      departed: (departure) => departures.push(departure),
      died: (death, isShown) => deaths.push({ death, isShown }),
    });
  });

  /** Removes a namespace, and returns whether the watcher is notified that the namespace is still shown. */
  function isShownAtDeath(id: NetnsId): boolean | undefined {
    deaths = [];
    scene.registry.died(deathOf(id));
    return deaths[0]?.isShown;
  }

  it('depart when their time is over, also from a namespace that lives on, which is unowned from then on', () => {
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    // The namespace has neither a name nor a process any more, but something else keeps it alive.
    scene.scan([[NODE, [1]]], [NODE, A]);
    expect([scene.registry.retired.size, scene.registry.hasDeparted(A), scene.registry.isNobodys(A)]).toEqual([
      1,
      false,
      false,
    ]);
    scene.nowMs += 5_001;
    scene.scan([[NODE, [1]]], [NODE, A]);
    expect([scene.registry.retired.size, scene.registry.hasDeparted(A), scene.registry.isNobodys(A)]).toEqual([
      0,
      true,
      true,
    ]);
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    expect([scene.registry.hasDeparted(A), scene.registry.isNobodys(A)]).toEqual([false, false]);
  });

  it('are shown for their time, after the living', () => {
    scene.scan([
      [NODE, [1]],
      [A, [5], 'blue'],
    ]);
    scene.scan([[NODE, [1]]]);
    expect(departures).toEqual([{ id: A, kind: 'netns', uid: '', name: 'blue', startSeconds: 5 }]);
    expect(scene.names).toEqual(['node ', 'netns blue retired']);
    expect(scene.registry.retired.size).toBe(1);
    expect(isShownAtDeath(A)).toBe(true);
    scene.nowMs += 4_999;
    scene.scan([[NODE, [1]]]);
    expect(scene.names).toHaveLength(2);
    scene.nowMs += 1;
    scene.scan([[NODE, [1]]]);
    expect(scene.names).toEqual(['node ']);
    expect(isShownAtDeath(A)).toBe(false);
    expect(looks).toBe(4);
  });

  it('are at most their share once their losses are known', () => {
    const all = Array.from({ length: 40 }, (_, index) => asNetnsId(1_000 + index));
    const lost = all[0];
    scene.scan([[NODE, [1]], ...all.map((id, index): [NetnsId, number[], string] => [id, [], `job-${index}`])]);
    scene.scan([[NODE, [1]]]);
    expect(scene.registry.retired.size).toBe(all.length);
    const notified = scene.shown.length;
    scene.registry.chooseRetired(() => undefined, false);
    expect(scene.shown).toHaveLength(notified);
    scene.registry.chooseRetired((id) => (id === lost ? 'loss' : 'nothing'), false);
    expect(scene.names).toHaveLength(1 + RETIRED_MIN);
    expect(scene.names).toContain('netns job-0 retired');
    expect(scene.names).toContain('netns job-39 retired');
    expect(scene.names).not.toContain('netns job-1 retired');
    expect(scene.registry.retired.dropped).toBe(all.length - RETIRED_MIN);
    scene.registry.chooseRetired((id) => (id === lost ? 'loss' : 'nothing'), true);
    expect(scene.names).toEqual(['node ', 'netns job-0 retired']);
    expect(scene.registry.retired.passedOver).toBe(RETIRED_MIN - 1);
  });

  it('exclude those that only a process named, and are none without a watcher', () => {
    scene.scan([
      [NODE, [1]],
      [A, [5]],
    ]);
    scene.scan([[NODE, [1]]]);
    expect(departures).toEqual([]);
    scene.registry.born(birth(B));
    scene.registry.died(deathOf(B));
    expect(scene.registry.retired.size).toBe(1);
    watching[Symbol.dispose]();
    expect(scene.names).toEqual(['node ']);
    scene.registry.born(birth(C));
    scene.registry.died(deathOf(C));
    expect(scene.registry.retired.size).toBe(0);
    expect(departures.map(({ id }) => id)).toEqual([B]);
  });

  it('depart with their own namespace, not with one that they had made or entered', () => {
    for (const pid of [5, 6, 7]) scene.containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scene.scan([
      [A, [5]],
      [B, [6]],
    ]);
    scene.registry.died(deathOf(B));
    expect(departures).toEqual([]);
    scene.scan([
      [A, [5]],
      [C, [7]],
    ]);
    scene.registry.died(deathOf(A));
    expect(departures).toMatchObject([{ id: A, uid: UID }]);
  });

  it('exclude those that have a new home when the old one goes', () => {
    for (const pid of [5, 6]) scene.containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scene.scan([[A, [5], 'cni-1']]);
    scene.scan([
      [A, [], 'cni-1'],
      [B, [6]],
    ]);
    scene.registry.died(deathOf(A));
    expect(departures).toEqual([]);
    scene.registry.died(deathOf(B));
    expect(departures).toMatchObject([{ id: B, uid: UID }]);
  });

  it('exclude those that use the node’s network and have made a namespace', () => {
    for (const pid of [5, 6]) scene.containers.set(pid, { podUid: UID, containerId: CONTAINER });
    scene.scan([
      [NODE, [1, 5]],
      [A, [6]],
    ]);
    expect(scene.names).toEqual(['node ', `pod ${UID}`]);
    scene.registry.died(deathOf(A));
    expect(departures).toEqual([]);
  });

  it('exclude those that come back', () => {
    scene.scan([[A, [5], 'blue']]);
    scene.scan([], [A]);
    expect(scene.names).toEqual(['netns blue retired']);
    scene.registry.born(birth(A));
    expect(scene.names).toEqual([`pod ${UID}`]);
  });

  it('are not swept before their time is over', () => {
    const gone: NetnsId[][] = [];
    scene.registry.onSweep((isDead) => gone.push([A, B].filter(isDead)));
    scene.registry.born(birth(A));
    scene.registry.died(deathOf(A));
    for (let look = 0; look < 4; look++) {
      scene.scan([[B, [5], 'blue']]);
      scene.nowMs += 5_000;
    }
    expect(gone).toEqual([[], [A], [A]]);
  });
});

it('a namespace is swept when two sweeps have not seen it alive, at most every five seconds', () => {
  const gone: NetnsId[][] = [];
  const sweeping = scene.registry.onSweep((isDead) => gone.push([A, B].filter(isDead)));
  const later = (ms: number, ...live: readonly NetnsId[]) => {
    scene.nowMs += ms;
    scene.registry.afterLook(rowsOf(...live));
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

it('a sweeper that fails does not keep the others from sweeping', () => {
  const gone: NetnsId[][] = [];
  scene.registry.onSweep(() => {
    throw new Error('the map cannot be read');
  });
  scene.registry.onSweep((isDead) => gone.push([A, B].filter(isDead)));
  scene.registry.holdOwners({ sweep: (isDead) => gone.push([B].filter(isDead)) });
  expect(() => scene.registry.afterLook(rowsOf(B))).toThrow('the map cannot be read');
  expect(gone).toEqual([[A], []]);
});

it('namespaces are swept once a minute if none has died, and twice after a death that no listing shows', () => {
  let sweeps = 0;
  scene.registry.onSweep(() => sweeps++);
  const rest = (seconds: number) => {
    for (let passed = 0; passed < seconds; passed += 5) {
      scene.nowMs += 5_000;
      scene.registry.afterLook(rowsOf(B));
    }
    const counted = sweeps;
    sweeps = 0;
    return counted;
  };
  expect(rest(5)).toBe(1);
  expect(rest(55)).toBe(0);
  expect(rest(5)).toBe(1);
  scene.registry.died(deathOf(A));
  expect(rest(30)).toBe(2);
});
