import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { type LastWords, RETIRED_MIN, Retired, type RetiredEntity, rankRetired, retiredMax } from './retired.ts';

function entity(id: number, uid = `${id}`, kind: Entity['kind'] = 'pod'): Entity {
  return { kind, netns: asNetnsId(id), inum: id, namespace: '', pod: `pod${id}`, uid, labels: {} };
}

function names(retired: Retired): string[] {
  return retired.entities.map(({ pod }) => pod);
}

it('keeps entities past their time while they are held', () => {
  const retired = new Retired(4);
  retired.add(entity(1), 10);
  retired.add(entity(2), 10);
  expect(retired.expire(20, (id) => id === asNetnsId(1))).toBe(true);
  expect(names(retired)).toEqual(['pod1']);
  expect(retired.expire(30)).toBe(true);
  expect(retired.size).toBe(0);
});

it('drops each when its time is over', () => {
  const retired = new Retired(10);
  retired.add(entity(1), 100);
  retired.add(entity(2), 200);
  expect(retired.expire(99)).toBe(false);
  expect(retired.entities.map(({ pod, isRetired }) => [pod, isRetired])).toEqual([
    ['pod1', true],
    ['pod2', true],
  ]);
  expect(retired.expire(100)).toBe(true);
  expect(retired.has(asNetnsId(1))).toBe(false);
  expect(retired.has(asNetnsId(2))).toBe(true);
  expect(retired.dropped).toBe(0);
});

it('has limited room, and counts those that it drops, the oldest first', () => {
  const retired = new Retired(3);
  for (let id = 1; id <= 10; id++) retired.add(entity(id), 100);
  expect(names(retired)).toEqual(['pod8', 'pod9', 'pod10']);
  expect(retired.dropped).toBe(7);
  retired.delete(asNetnsId(9));
  expect(retired.size).toBe(2);
});

it('ranks one namespace of a Pod that makes many before all others, and the rest after them', () => {
  const retired = new Retired(4);
  for (let id = 1; id <= 3; id++) retired.add(entity(id), 100);
  for (let id = 10; id < 30; id++) retired.add(entity(id, 'greedy'), 100);
  expect(names(retired)).toEqual(['pod1', 'pod2', 'pod3', 'pod29']);
});

describe('the choice after a collection', () => {
  function chosen(words: Readonly<Record<number, LastWords>>, max: number, hasPods = false, kind?: Entity['kind']) {
    const retired = new Retired(100);
    for (const id of Object.keys(words)) retired.add(entity(Number(id), id, kind), 100);
    const known = (id: NetnsId) => {
      const found = words[Number(id)];
      return found === 'unknown' ? undefined : found;
    };
    const changed = retired.choose({ max, hasPods, words: known });
    return { retired, changed };
  }

  it('prefers loss, then trouble, then youth', () => {
    const words = { 1: 'loss', 2: 'trouble', 3: 'nothing', 4: 'nothing', 5: 'nothing' } as const;
    expect(names(chosen(words, 3).retired)).toEqual(['pod1', 'pod2', 'pod5']);
    expect(names(chosen(words, 1).retired)).toEqual(['pod1']);
    expect(chosen(words, 1).retired.dropped).toBe(4);
    expect(chosen(words, 5).changed).toBe(false);
  });

  it('excludes those whose last values are not there yet', () => {
    const { retired } = chosen({ 1: 'unknown', 2: 'nothing', 3: 'loss', 4: 'unknown' }, 1);
    expect(names(retired)).toEqual(['pod1', 'pod3', 'pod4']);
    expect(retired.unknown).toBe(2);
  });

  it('keeps, if there are Pods, only those others that lost something', () => {
    const words = { 1: 'loss', 2: 'trouble', 3: 'nothing', 4: 'unknown' } as const;
    const { retired } = chosen(words, 9, true, 'netns');
    expect(names(retired)).toEqual(['pod1', 'pod4']);
    expect(retired.passedOver).toBe(2);
    expect(retired.dropped).toBe(0);
    expect(names(chosen(words, 9, true).retired)).toHaveLength(4);
    expect(names(chosen(words, 9, false, 'netns').retired)).toHaveLength(4);
  });

  it('also affects those that come later', () => {
    const { retired } = chosen({ 1: 'loss', 2: 'nothing' }, 9);
    for (let id = 10; id < 200; id++) retired.add(entity(id), 100);
    expect(names(retired)[0]).toBe('pod1');
    expect(retired.has(asNetnsId(2))).toBe(false);
  });
});

describe('the rank', () => {
  const RANK: readonly LastWords[] = ['loss', 'trouble', 'unknown', 'nothing'];
  const dead = fc
    .array(fc.record({ owner: fc.integer({ min: 0, max: 5 }), words: fc.constantFrom(...RANK) }), { maxLength: 40 })
    .map((given) =>
      given.map(({ owner, words }, id): RetiredEntity => ({ entity: entity(id, `${owner}`), untilMs: 0, words })),
    );

  it('has each of them once; within one owner, greater loss goes first, and then the younger', () => {
    fc.assert(
      fc.property(dead, (given) => {
        const ranked = rankRetired(given);
        expect(new Set(ranked)).toEqual(new Set(given));
        for (const owner of new Set(given.map((one) => one.entity.uid))) {
          const own = ranked.filter((one) => one.entity.uid === owner);
          const keys = own.map((one) => [RANK.indexOf(one.words), -given.indexOf(one)] as const);
          expect(keys).toEqual([...keys].sort(([a, b], [c, d]) => a - c || b - d));
        }
      }),
    );
  });

  it('has, cut anywhere, of no owner two more than of another that it leaves out', () => {
    fc.assert(
      fc.property(dead, fc.nat(40), (given, max) => {
        const ranked = rankRetired(given);
        const shown = (uid: string) => ranked.slice(0, max).filter((one) => one.entity.uid === uid).length;
        const most = Math.max(0, ...given.map((one) => shown(one.entity.uid)));
        for (const left of ranked.slice(max)) expect(shown(left.entity.uid)).toBeGreaterThanOrEqual(most - 1);
      }),
    );
  });

  it('leaves out, with as many owners as dead, none with a loss while there is room for all of them', () => {
    fc.assert(
      fc.property(dead, fc.nat(40), (given, max) => {
        const own = given.map((one, id) => ({ ...one, entity: entity(id) }));
        const kept = rankRetired(own).slice(0, max);
        const losses = own.filter(({ words }) => words === 'loss');
        expect(kept.filter(({ words }) => words === 'loss')).toHaveLength(Math.min(max, losses.length));
      }),
    );
  });
});

it('the share is of all that is shown, with some always', () => {
  expect(retiredMax(110, 0.25)).toBe(36);
  expect(retiredMax(3, 0.25)).toBe(RETIRED_MIN);
  expect(retiredMax(500, 0)).toBe(RETIRED_MIN);
  expect(retiredMax(0, 1)).toBe(Number.POSITIVE_INFINITY);
  fc.assert(
    fc.property(fc.nat(2_000), fc.double({ min: 0, max: 0.99, noNaN: true }), (living, share) => {
      const max = retiredMax(living, share);
      if (max > RETIRED_MIN) expect(max / (max + living)).toBeLessThanOrEqual(share + 1e-9);
    }),
  );
});
