import { expect, it } from 'vitest';
import type { EntityStatus } from '#api/entities.ts';
import { SteppedClock } from '../../test/support/stepped_clock.ts';
import { LocalOwners } from './local.ts';
import { PeerResolver } from './resolver.ts';

function entity(kind: EntityStatus['kind'], pod: string, ips: readonly string[]): EntityStatus {
  return { kind, namespace: '', pod, netns: '1', sharesNode: false, uid: '', labels: {}, ips };
}

function scene(entities: EntityStatus[], addressesMax?: number) {
  const clock = new SteppedClock(100);
  const seen = { reads: 0, changes: 0 };
  const limited: number[] = [];
  const owners: LocalOwners = new LocalOwners({
    entities: async () => {
      seen.reads++;
      return [...entities];
    },
    node: 'n1',
    changed: () => void seen.changes++,
    limited: (leftOut) => void limited.push(leftOut),
    clock,
    ...(addressesMax === undefined ? {} : { addressesMax }),
  });
  return { clock, seen, limited, owners, resolver: new PeerResolver(() => owners), entities };
}

const PENDING = { kind: 'pending', namespace: '', name: '' };
const UNKNOWN = { kind: 'unknown', namespace: '', name: '' };

it('an address of this machine has the name of its namespace, once the addresses have been read', async () => {
  const { clock, seen, resolver } = scene([
    entity('node', '', ['192.0.2.1']),
    entity('container', 'web', ['10.0.0.2', 'fd00::2']),
    entity('netns', 'blue', ['10.0.0.3', '10.0.0.9']),
    entity('netns', 'green', ['10.0.0.9']),
  ]);
  expect(resolver.identify('10.0.0.2')).toEqual(PENDING);
  expect(resolver.identify('203.0.113.7')).toEqual(PENDING);
  await clock.advance(100);
  expect(seen).toEqual({ reads: 1, changes: 1 });
  expect(resolver.identify('10.0.0.2')).toEqual({ kind: 'local', namespace: '', name: 'web' });
  expect(resolver.identify('::ffff:10.0.0.3')).toEqual({ kind: 'local', namespace: '', name: 'blue' });
  expect(resolver.identify('192.0.2.1')).toEqual({ kind: 'node', namespace: '', name: 'n1' });
  expect(resolver.identify('203.0.113.7')).toEqual({ kind: 'external', namespace: '', name: '' });
  expect(resolver.find('fd00::2')).toEqual({ kind: 'local', namespace: '', name: 'web', ip: 'fd00::2' });
  // The first address belongs to two namespaces, and the second one to none.
  expect(resolver.identify('10.0.0.9')).toEqual(UNKNOWN);
  expect(resolver.identify('10.0.0.8')).toEqual(UNKNOWN);
});

it('an address that has moved to another namespace is not named after the one before', async () => {
  const { clock, seen, resolver, entities } = scene([entity('container', 'old', ['10.0.0.2'])]);
  resolver.identify('10.0.0.2');
  await clock.advance(100);
  expect(resolver.identify('10.0.0.2')).toMatchObject({ name: 'old' });
  entities.splice(0, 1, entity('container', 'new', ['10.0.0.2']));
  await clock.advance(60_000);
  expect(resolver.identify('10.0.0.2')).toEqual(UNKNOWN);
  await clock.advance(100);
  expect(resolver.identify('10.0.0.2')).toMatchObject({ name: 'new' });
  expect(seen).toEqual({ reads: 2, changes: 2 });
});

it('addresses are read only while someone asks, at most once in two seconds', async () => {
  const { clock, seen, resolver } = scene([entity('container', 'web', ['10.0.0.2'])]);
  await clock.advance(10_000);
  expect(seen.reads).toBe(0);
  for (let asked = 0; asked < 100; asked++) {
    resolver.identify('10.0.0.2');
    await clock.advance(100);
  }
  expect(seen).toEqual({ reads: 5, changes: 1 });
});

it('has a bound, beyond which no public address counts as external', async () => {
  const { clock, owners, limited, resolver } = scene([entity('netns', 'big', ['10.0.0.1', '10.0.0.2', '10.0.0.3'])], 2);
  resolver.identify('10.0.0.1');
  await clock.advance(100);
  expect([owners.leftOut, ...limited]).toEqual([1, 1]);
  expect(resolver.identify('203.0.113.7')).toEqual(UNKNOWN);
});

it('with `peers: off`, nothing is read', async () => {
  const { clock, seen, owners, resolver } = scene([entity('container', 'web', ['10.0.0.2'])]);
  owners.isOn = false;
  expect(resolver.find('10.0.0.2')).toBeUndefined();
  await clock.advance(100);
  expect(seen.reads).toBe(0);
});
