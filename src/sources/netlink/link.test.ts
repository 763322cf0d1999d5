import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeLinks } from './link.ts';

const ignore = () => undefined;

const RTM_NEWLINK = 16;

const cString = (value: string) => Uint8Array.from(Buffer.from(`${value}\0`));

describe('decodeLinks', () => {
  const link = (index: number, flags: number, name: string, info?: string) =>
    message(
      RTM_NEWLINK,
      join(
        numbers(0, index, flags, 0),
        attribute(3, cString(name)),
        ...(info === undefined ? [] : [attribute(18, attribute(1, cString(info)))]),
      ),
    );

  it('tells software devices from others by their kind', () => {
    expect(decodeLinks(join(link(1, 0x8, 'lo'), link(2, 0, 'eth0'), link(3, 0, 'veth1', 'veth')), ignore)).toEqual([
      { ifindex: 1, name: 'lo', kind: undefined, loopback: true },
      { ifindex: 2, name: 'eth0', kind: undefined, loopback: false },
      { ifindex: 3, name: 'veth1', kind: 'veth', loopback: false },
    ]);
  });
});
