import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { EntityKind } from '#api/words.ts';
import { asNetnsId, hostPodId, type NetnsId } from '#core/netns.ts';
import type { PodFilter } from '#core/pod_filter.ts';
import type { Entity } from './entity.ts';
import type { PodFacts } from './facts.ts';
import { matchesGlob, PodFilterTracker } from './pod_filters.ts';

function entity(netns: number, kind: EntityKind, pod: string, uid = ''): Entity {
  return { kind, netns: asNetnsId(netns), inum: 0, namespace: '', pod, uid, labels: {} };
}

class Target {
  readonly netns = new Set<number>();
  readonly log: string[] = [];
  add(id: NetnsId): void {
    this.netns.add(Number(id));
    this.log.push(`+${id}`);
  }
  remove(id: NetnsId): void {
    this.netns.delete(Number(id));
    this.log.push(`-${id}`);
  }
}

const NODE = entity(1, 'node', '');
const WEB = entity(2, 'pod', 'uid-web', 'uid-web');
const DB = entity(3, 'pod', 'uid-db', 'uid-db');
const CONTAINER = entity(4, 'container', '0123456789ab', '0123456789abcdef');

let directory: Map<string, PodFacts>;
let filters: PodFilterTracker;

beforeEach(() => {
  directory = new Map([
    ['uid-web', { namespace: 'shop', name: 'web-1', labels: { app: 'web', tier: 'front' } }],
    ['uid-db', { namespace: 'data', name: 'db-0', labels: { app: 'db' } }],
  ]);
  filters = new PodFilterTracker({ find: (uid) => directory.get(uid) });
  filters.set([NODE, WEB, DB, CONTAINER]);
});

function meant(filter: PodFilter): number[] {
  const target = new Target();
  using _ = filters.follow(filter, target);
  return [...target.netns];
}

describe('a pod filter', () => {
  it.each<[PodFilter, number[]]>([
    [{}, [2, 3, 4]],
    [{ namespaces: ['shop'] }, [2]],
    [{ namespaces: ['shop', 'data'] }, [2, 3]],
    [{ namespaces: ['shop', 'data'], selector: 'app!=web' }, [3]],
    [{ selector: 'tier' }, [2]],
    [{ selector: '!tier' }, [3, 4]],
    [{ names: ['web-*', 'x'] }, [2]],
    [{ names: ['??-0'] }, [3]],
    [{ names: ['0123*'] }, [4]],
    [{ names: ['uid-web'] }, []],
    [{ names: [''] }, []],
  ])('%j means %j, and never the node', (filter, netns) => expect(meant(filter)).toEqual(netns));

  it('includes a Pod that shares the node’s namespace, which is no namespace to be told', () => {
    const shared = { ...entity(0, 'pod', 'uid-db', 'uid-db'), netns: hostPodId(1), sharedNetns: NODE.netns };
    filters.set([NODE, WEB, shared]);
    const target = new Target();
    using followed = filters.follow({ names: ['db-*', 'web-*'] }, target);
    expect(followed.isIncluded(shared.netns)).toBe(true);
    expect(followed.isIncluded(NODE.netns)).toBe(false);
    expect(target.log).toEqual(['+2']);
    filters.set([NODE]);
    expect(followed.isIncluded(shared.netns)).toBe(false);
    expect(target.log).toEqual(['+2', '-2']);
  });

  it('includes no Pod that Kubernetes has not reported yet', () => {
    directory.clear();
    expect(meant({})).toEqual([4]);
    expect(meant({ selector: '!tier' })).toEqual([4]);
  });

  it('uses the names found on the machine if there is no Kubernetes', () => {
    filters = new PodFilterTracker(undefined);
    filters.set([NODE, WEB, entity(5, 'netns', 'demo'), entity(6, 'process', 'nginx-77')]);
    expect(meant({ names: ['demo', 'nginx-*'] })).toEqual([5, 6]);
    expect(meant({})).toEqual([2, 5, 6]);
    expect(meant({ namespaces: ['shop'] })).toEqual([]);
  });
});

it('follows Pods as they start and end and change, each change at once and once', () => {
  const target = new Target();
  const followed = filters.follow({ selector: 'app=web' }, target);
  expect(target.log).toEqual(['+2']);
  filters.set([NODE, WEB, DB, CONTAINER]);
  expect(target.log).toEqual(['+2']);
  const second = entity(7, 'pod', 'uid-2', 'uid-2');
  filters.set([NODE, WEB, second]);
  expect(target.log).toEqual(['+2']);
  directory.set('uid-2', { namespace: 'shop', name: 'web-2', labels: { app: 'web' } });
  filters.set([NODE, WEB, second]);
  expect(target.log).toEqual(['+2', '+7']);
  expect([2, 3, 7].map((id) => followed.isIncluded(asNetnsId(id)))).toEqual([true, false, true]);
  directory.set('uid-web', { namespace: 'shop', name: 'web-1', labels: { app: 'old' } });
  filters.set([NODE, WEB]);
  expect(target.log).toEqual(['+2', '+7', '-2', '-7']);
  followed[Symbol.dispose]();
  filters.set([NODE, DB, second]);
  expect(target.log).toHaveLength(4);
});

it('a glob matches the same names as a regular expression', () => {
  const word = fc.stringMatching(/^[ab*?]{0,8}$/);
  fc.assert(
    fc.property(fc.stringMatching(/^[ab]{0,10}$/), word, (text, glob) => {
      const expression = new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('?', '.')}$`);
      expect(matchesGlob(text, glob)).toBe(expression.test(text));
    }),
    { numRuns: 2_000 },
  );
  // With exponential backtracking, this match would never finish.
  expect(matchesGlob('a'.repeat(250), `${'*a'.repeat(120)}b`)).toBe(false);
});
