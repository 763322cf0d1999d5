import { describe, expect, it } from 'vitest';
import type { Link } from '#sources/netlink/changes/notices.ts';
import { ChangeCounts, DEVICES_MAX } from './change_counts.ts';

function added(name: string, kind: string | undefined) {
  const link: Link = { ifindex: 1, name, kind, loopback: name === 'lo', up: false, carrier: false, mtu: 1500 };
  return { what: 'link', change: 'added', link } as const;
}

describe('counts of changes', () => {
  it('name physical devices, bonds, bridges, VLANs and tunnels, and count others by their kind', () => {
    const counts = new ChangeCounts();
    const devices = [
      ['eth0', undefined],
      ['br0', 'bridge'],
      ['v1', 'veth'],
      ['v2', 'veth'],
      ['t0', 'tap'],
      ['lo', undefined],
    ] as const;
    for (const [name, kind] of devices) counts.count(added(name, kind));
    expect([...counts.links].map(([device, changes]) => [device, changes.get('added')])).toEqual([
      ['eth0', 1],
      ['br0', 1],
      ['kind:veth', 2],
      ['kind:tap', 1],
      ['kind:loopback', 1],
    ]);
  });

  it('have a bounded number of names, however many devices start and end, and lose none of their changes', () => {
    const counts = new ChangeCounts();
    for (let index = 0; index < 3 * DEVICES_MAX; index++) counts.count(added(`br-${index}`, 'bridge'));
    expect(counts.links.size).toBe(DEVICES_MAX + 1);
    expect(counts.links.get('kind:bridge')?.get('added')).toBe(2 * DEVICES_MAX);
    counts.count(added('br-0', 'bridge'));
    expect(counts.links.get('br-0')?.get('added')).toBe(2);
  });
});
