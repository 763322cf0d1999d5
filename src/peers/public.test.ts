import { expect, it } from 'vitest';
import { isPublic, networks } from './public.ts';

it('public addresses are those that the internet routes', () => {
  for (const ip of ['8.8.8.8', '203.0.113.9', '2001:db8::1']) expect(isPublic(ip), ip).toBe(true);
  for (const ip of [
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.1.1',
    '224.0.0.1',
    'fd00::1',
    'fe80::1',
    '::1',
    'x',
  ]) {
    expect(isPublic(ip), ip).toBe(false);
  }
});

it('networks contain their addresses; a malformed one is left out', () => {
  const contains = networks(['2001:db8:1::/64', '198.51.100.0/24', 'x', '1.2.3.4', '1.2.3.4/99']);
  expect(['2001:db8:1::5', '198.51.100.7', '2001:db8:2::5', '1.2.3.4'].map(contains)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
