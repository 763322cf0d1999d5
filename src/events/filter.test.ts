import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { matches } from './filter.ts';

const owner = (kind: string, name: string) => ({ kind, namespace: 'shop', name, ip: '10.0.0.1' });
const event = (more: object) => ({ namespace: '', pod: '', ...more }) as EventRecord;

it.each([
  ['its own event', { namespace: 'shop', pod: 'web' }, true],
  ['an event of another namespace', { namespace: 'data', pod: 'web' }, false],
  ['a packet from it that the node dropped', { srcOwner: owner('pod', 'web') }, true],
  ['a packet to it that the node dropped', { srcOwner: owner('pod', 'cart'), dstOwner: owner('pod', 'web') }, true],
  ['a packet of the node of this name', { dstOwner: owner('node', 'web') }, false],
  ['a packet to it that another Pod dropped', { namespace: 'shop', pod: 'cart', dstOwner: owner('pod', 'web') }, false],
  ['an event of an unknown Pod', { namespace: null, pod: null }, false],
])('the filter of a Pod decides about %s', (_, more, isMatch) => {
  expect(matches(event(more), { namespace: 'shop', pod: 'web' })).toBe(isMatch);
});

it('compares the namespace and the name of the same Pod', () => {
  const dropped = event({ srcOwner: owner('pod', 'cart'), dstOwner: { ...owner('pod', 'web'), namespace: 'data' } });
  expect(matches(dropped, { namespace: 'shop', pod: 'web' })).toBe(false);
  expect(matches(dropped, { namespace: 'data', pod: 'web' })).toBe(true);
});
