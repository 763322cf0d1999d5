import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';
import {
  type Claim,
  claimantOf,
  type Evidence,
  type Home,
  homeOf,
  isSandboxMount,
  type Owner,
  ownerOf,
} from './owner.ts';

const A = 'aaaaaaaa-1111-2222-3333-444455556666';
const B = 'bbbbbbbb-1111-2222-3333-444455556666';
const BOX = 'ab'.repeat(32);
const OWN = 'cd'.repeat(32);

function claim(uid: string, home: Home, kind: Claim['kind'] = 'pod'): Claim {
  return { kind, uid, home };
}

function podOwner(uid: string, isHome = true): Owner {
  return { kind: 'pod', name: uid, uid, isHome };
}

const mounted = (name: string): Owner => ({ kind: 'netns', name, uid: '', isHome: false });
const process = (name: string): Owner => ({ kind: 'process', name, uid: '', isHome: false });

const NOTHING: Evidence = {
  inum: 70,
  isNode: false,
  claims: [],
  before: undefined,
  beforeHome: undefined,
  mounts: [],
  oldest: undefined,
};
const oldest = { comm: 'sh', pid: 6 };

/** Kinds of evidence, from best to worst, each with the owner that it yields if there is no better evidence. */
const RANKS: readonly (readonly [name: string, evidence: Partial<Evidence>, owner: Owner])[] = [
  ['it is the node’s', { isNode: true }, { kind: 'node', name: '', uid: '', isHome: true }],
  ['a process of one at home here', { claims: [claim(A, 'here')] }, podOwner(A)],
  ['it was the home of an owner that has left', { before: podOwner(B), beforeHome: 'here' }, podOwner(B)],
  ['a process of a guest', { claims: [claim('guest', 'elsewhere')] }, podOwner('guest', false)],
  ['a mount', { mounts: ['red', 'blue'] }, mounted('blue')],
  ['a process of an owner that uses the node’s network', { claims: [claim('host', 'node')] }, podOwner('host', false)],
  ['its oldest process', { oldest }, process('sh-6')],
  ['its number', {}, process('netns-70')],
];

describe('the better evidence wins', () => {
  it.each(RANKS.map(([name], rank) => [name, rank] as const))('%s', (_, rank) => {
    for (const [, better, owner] of RANKS.slice(rank, rank + 1)) {
      // Combines the evidence with every subset of the worse evidence, in both orders.
      const worse = RANKS.slice(rank + 1);
      for (let mix = 0; mix < 2 ** worse.length; mix++) {
        const chosen = worse.filter((_rank, index) => mix & (1 << index)).map(([, evidence]) => evidence);
        const claims = [better, ...chosen].flatMap((evidence) => evidence.claims ?? []);
        for (const order of [claims, [...claims].reverse()]) {
          expect(ownerOf(Object.assign({ ...NOTHING }, ...chosen, better, { claims: order }))).toEqual(owner);
        }
      }
    }
  });
});

describe('evidence of one rank', () => {
  it.each<[string, Partial<Evidence>, Owner]>([
    ['the oldest process', { claims: [claim(A, 'here'), claim(B, 'here')] }, podOwner(A)],
    [
      'the known owner before an older process',
      { claims: [claim(A, 'here'), claim(B, 'here')], before: podOwner(B), beforeHome: 'here' },
      podOwner(B),
    ],
    [
      'an owner at home here before a known guest',
      { claims: [claim(A, 'elsewhere'), claim(B, 'here')], before: podOwner(A, false), beforeHome: 'elsewhere' },
      podOwner(B),
    ],
    ['the guest of the oldest process', { claims: [claim(B, 'elsewhere'), claim(A, 'elsewhere')] }, podOwner(B, false)],
    ['the known mount', { mounts: ['a', 'b'], before: mounted('b') }, mounted('b')],
    ['another mount when the known one is gone', { mounts: ['c', 'a'], before: mounted('b') }, mounted('a')],
  ])('%s', (_, evidence, owner) => expect(ownerOf({ ...NOTHING, ...evidence })).toEqual(owner));
});

describe('a known owner', () => {
  it.each<[string, Partial<Evidence>, Owner]>([
    ['stays where only the mount is left', { before: podOwner(A), beforeHome: 'here', mounts: ['cni-1'] }, podOwner(A)],
    [
      'stays where the Pod has its home in another namespace now, whichever guests are here',
      { before: podOwner(A), beforeHome: 'elsewhere', claims: [claim(B, 'elsewhere')] },
      podOwner(A),
    ],
    [
      'gives way to an owner at home here',
      { before: podOwner(A), beforeHome: 'here', claims: [claim(B, 'here')] },
      podOwner(B),
    ],
    [
      'becomes a guest where it turns out to be at home elsewhere',
      { before: podOwner(A), beforeHome: 'elsewhere', claims: [claim(A, 'elsewhere')] },
      podOwner(A, false),
    ],
    [
      'is forgotten where it was a guest that has left',
      { before: podOwner(A, false), beforeHome: 'elsewhere', mounts: ['blue'] },
      mounted('blue'),
    ],
    [
      'is forgotten where it turns out to use the node’s network',
      { before: podOwner(A), beforeHome: 'node', mounts: ['router'] },
      mounted('router'),
    ],
    [
      'is forgotten where it was a process',
      { before: process('sh-6'), oldest: { comm: 'app', pid: 9 } },
      process('app-9'),
    ],
  ])('%s', (_, evidence, owner) => expect(ownerOf({ ...NOTHING, ...evidence })).toEqual(owner));
});

it('a container is named by the first digits of its ID', () => {
  expect(ownerOf({ ...NOTHING, claims: [claim(BOX, 'here', 'container')] })).toEqual({
    kind: 'container',
    name: BOX.slice(0, 12),
    uid: BOX,
    isHome: true,
  });
});

describe('the home of a Pod', () => {
  const place = (
    id: number,
    startSeconds: number | undefined,
    given: { order?: number | undefined; isSandbox?: boolean; isOthers?: boolean } = {},
  ) => ({
    id: asNetnsId(id),
    startSeconds,
    isSandbox: false,
    isOthers: false,
    order: id,
    ...given,
  });
  const nowhere = { hostNetwork: undefined, nodeStartSeconds: undefined };

  it.each([
    ['the only one', [place(1, 5)], 1],
    ['one with processes before one without, which is older', [place(1, undefined), place(2, 5)], 2],
    ['one of a runtime before one that was made earlier', [place(1, 5), place(2, 9, { isSandbox: true })], 2],
    [
      'the one that is not another’s, before one of a runtime',
      [place(1, 5, { isOthers: true, isSandbox: true }), place(2, 9)],
      2,
    ],
    ['one with processes, though it may be another’s', [place(1, undefined), place(2, 5, { isOthers: true })], 2],
    ['one with processes before one of a runtime', [place(1, undefined, { isSandbox: true }), place(2, 5)], 2],
    ['the one that was made first, though its process is younger', [place(1, 9), place(2, 5)], 1],
    ['the one that was made first, at any number', [place(7, 9, { order: 1 }), place(3, 5, { order: 2 })], 7],
    ['the first of those that are left', [place(2, undefined), place(1, undefined)], 1],
    [
      'the one of the oldest process where there is no order, at any number',
      [place(7, 5, { order: undefined }), place(3, 9, { order: undefined })],
      7,
    ],
    [
      'always the same one of two where there is no order and their processes have the same age',
      [place(7, 5, { order: undefined }), place(3, 5, { order: undefined })],
      3,
    ],
  ])('is %s', (_, places, home) => {
    expect(homeOf({ ...nowhere, places })).toBe(home);
    expect(homeOf({ ...nowhere, places: [...places].reverse() })).toBe(home);
    expect(homeOf({ ...nowhere, hostNetwork: false, nodeStartSeconds: 0, places })).toBe(home);
    expect(homeOf({ ...nowhere, hostNetwork: true, places })).toBe('node');
  });

  it('is the node’s network if its oldest process is', () => {
    const places = [place(1, 5), place(2, 6)];
    expect(homeOf({ ...nowhere, nodeStartSeconds: 4.9, places })).toBe('node');
    // A scan may see a process twice: before and after it enters another namespace.
    expect(homeOf({ ...nowhere, nodeStartSeconds: 5, places })).toBe(1);
    expect(homeOf({ ...nowhere, nodeStartSeconds: 5, places: [place(1, undefined)] })).toBe('node');
  });

  it('is none if it has no processes', () => expect(homeOf({ ...nowhere, places: [] })).toBeUndefined());

  it('does not depend on the order in which its namespaces are examined', () => {
    const given = fc.record({
      startSeconds: fc.option(fc.nat(5), { nil: undefined }),
      isSandbox: fc.boolean(),
      isOthers: fc.boolean(),
      order: fc.nat(100),
    });
    const some = fc.uniqueArray(given, { minLength: 1, maxLength: 6, selector: ({ order }) => order });
    fc.assert(
      fc.property(some, fc.boolean(), (facts, isListed) => {
        const places = facts.map(({ order, ...fact }, index) => ({
          ...fact,
          order: isListed ? order : undefined,
          id: asNetnsId(index + 1),
        }));
        expect(homeOf({ ...nowhere, places: [...places].reverse() })).toBe(homeOf({ ...nowhere, places }));
      }),
    );
  });
});

describe('the owner of a process', () => {
  const pod = { podUid: A, containerId: BOX };
  it.each<[string, ContainerRef | undefined, boolean, object | undefined]>([
    ['nobody’s', undefined, true, undefined],
    ['a Pod’s', pod, true, { kind: 'pod', uid: A }],
    ['a Pod’s, the first one', pod, false, { kind: 'pod', uid: A }],
    ['a container’s', { containerId: BOX }, true, { kind: 'container', uid: BOX }],
    ['one in a container, where there are Pods', { ...pod, within: OWN }, true, { kind: 'container', uid: OWN }],
    ['one in a container, where there are none', { ...pod, within: OWN }, false, { kind: 'pod', uid: A }],
    ['one of a user, where there are Pods', { ...pod, within: '' }, true, undefined],
    ['one of a user, where there are none', { ...pod, within: '' }, false, { kind: 'pod', uid: A }],
  ])('%s', (_, ref, hasPods, claimant) => expect(claimantOf(ref, undefined, hasPods)).toEqual(claimant));

  it("is never the agent's own container, in which it may make namespaces", () => {
    expect(claimantOf({ podUid: A, containerId: OWN }, { containerId: OWN }, true)).toBeUndefined();
    expect(claimantOf(pod, { containerId: OWN }, true)).toEqual({ kind: 'pod', uid: A });
    expect(claimantOf({ podUid: A }, {}, true)).toEqual({ kind: 'pod', uid: A });
  });
});

it.each([
  [`cni-${A}`, true],
  [A, true],
  ['cni-1', false],
  ['router', false],
  [`x${A}`, false],
])('isSandboxMount(%j)', (name, expected) => expect(isSandboxMount(name)).toBe(expected));
