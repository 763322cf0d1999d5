import { describe, expect, it } from 'vitest';
import { type ExternalBy, ExternalNames } from './external.ts';

describe('a peer outside of the cluster', () => {
  const names = new ExternalNames({
    names: { '10.0.0.0/8': 'company', '10.9.0.0/16': 'datacenter', '2001:db8::/32': 'partner', '0.0.0.0/0': 'rest' },
    by: 'collapse',
  });

  it.each([
    ['10.9.1.2', 'datacenter'],
    ['10.8.1.2', 'company'],
    ['203.0.113.1', 'rest'],
    ['2001:db8::1', 'partner'],
    ['2001:db9::1', undefined],
  ])('%s has the name of the longest prefix that contains it: %s', (ip, name) => {
    expect(names.nameOf(ip)).toBe(name);
  });

  it.each<[ExternalBy, string, string]>([
    ['collapse', '203.0.113.9', ''],
    ['network', '203.0.113.9', '203.0.113.0/24'],
    ['network', '2001:db8:1:2::3', '2001:db8:1::/48'],
    ['network', '2001:db8::3', '2001:db8::/48'],
    ['network', '2001:0:1:2:3:4:5:6', '2001:0:1::/48'],
    ['address', '203.0.113.9', '203.0.113.9'],
  ])('without a name, with `by: %s`, %s is %j', (by, ip, name) => {
    expect(new ExternalNames({ names: {}, by }).groupOf(ip)).toBe(name);
  });
});
