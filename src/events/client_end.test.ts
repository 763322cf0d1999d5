import { expect, it } from 'vitest';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { clientEndOf } from './client_end.ts';

it.each([
  ['a look-up', '10.0.0.1:40000', '10.96.0.10:53', 'src'],
  ['its answer', '10.96.0.10:53', '10.0.0.1:40000', 'dst'],
  ['IPv6', '[fd00::1]:40000', '[fd00::2]:53', 'src'],
  ['a service that has a high port, but not one of this range', '10.0.0.1:40000', '10.0.0.2:30080', 'src'],
  ['a client of a kernel with another range', '10.0.0.1:15000', '10.0.0.2:443', 'src'],
  ['the same, the other way', '10.0.0.2:443', '10.0.0.1:61500', 'dst'],
  ['both ports in the range', '10.0.0.1:40000', '10.0.0.2:50051', 'either'],
  ['neither in the range, and neither privileged', '10.0.0.1:15000', '10.0.0.2:8080', 'either'],
  ['two ports that programs chose', '10.0.0.1:123', '10.0.0.2:123', undefined],
  ['no ports', '10.0.0.1', '10.0.0.2', undefined],
  ['one port', '10.0.0.1', '10.0.0.2:53', undefined],
  ['no addresses', undefined, undefined, undefined],
] as const)('%s: from %s to %s', (_, src, dst, end) => {
  const ends = { ...(src === undefined ? {} : { src }), ...(dst === undefined ? {} : { dst }) };
  expect(clientEndOf(ends, undefined, DEFAULT_PORT_RANGE)).toBe(end);
});

it('uses what the event says', () => {
  const ends = { src: '10.0.0.1:40000', dst: '10.0.0.2:53' };
  expect(clientEndOf(ends, 'dst', DEFAULT_PORT_RANGE)).toBe('dst');
  expect(clientEndOf({ src: '10.0.0.1', dst: '10.0.0.2' }, 'dst', DEFAULT_PORT_RANGE)).toBeUndefined();
});

it('uses the range of the node', () => {
  const ends = { src: '10.0.0.1:15000', dst: '10.0.0.2:40000' };
  expect(clientEndOf(ends, undefined, DEFAULT_PORT_RANGE)).toBe('dst');
  expect(clientEndOf(ends, undefined, { first: 10_000, last: 20_000 })).toBe('src');
});
