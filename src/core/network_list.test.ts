import { describe, expect, it } from 'vitest';
import { isNetwork, NetworkList } from './network_list.ts';

describe('a list of networks', () => {
  const list = new NetworkList(['10.1.0.0/16', 'fd00:1::/48', 'nonsense']);

  it.each([
    ['10.1.255.255', undefined, true],
    ['10.2.0.0', undefined, false],
    ['10.1.3.0', 24, true],
    ['10.1.0.0', 16, true],
    ['10.1.0.0', 15, false],
    ['0.0.0.0', 0, false],
    ['fd00:1::5', undefined, true],
    ['fd00:1:0:7::', 64, true],
    ['fd00::', 32, false],
  ])('%s/%s: %s', (address, prefix, isInside) => {
    expect(list.contains(address, prefix)).toBe(isInside);
  });

  it('knows what a network is', () => {
    expect(['10.0.0.0/8', '::/0', '10.0.0.0/32'].map(isNetwork)).toEqual([true, true, true]);
    expect(['10.0.0.0', '10.0.0.0/33', '10.0.0.0/', 'fd00::/129', 'x/8', '10.0.0.0/1.5'].some(isNetwork)).toBe(false);
  });
});
