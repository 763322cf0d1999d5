import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeLinks } from './link.ts';

const ignore = () => undefined;

const RTM_NEWLINK = 16;

const cString = (value: string) => Uint8Array.from(Buffer.from(`${value}\0`));

interface Given {
  readonly index: number;
  readonly flags?: number;
  readonly name: string | Uint8Array;
  readonly kind?: string;
  /** IFLA_LINK and IFLA_LINK_NETNSID. */
  readonly link?: number;
  readonly netnsid?: number;
}

function linkMessage({ index, flags = 0, name, kind, link, netnsid }: Given): Uint8Array {
  return message(
    RTM_NEWLINK,
    join(
      numbers(0, index, flags, 0),
      attribute(3, typeof name === 'string' ? cString(name) : name),
      ...(link === undefined ? [] : [attribute(5, numbers(link))]),
      ...(kind === undefined ? [] : [attribute(18, attribute(1, cString(kind)))]),
      ...(netnsid === undefined ? [] : [attribute(37, numbers(netnsid))]),
    ),
  );
}

describe('decodeLinks', () => {
  it('distinguishes software devices from others by their kind', () => {
    const links = [
      { index: 1, flags: 0x8, name: 'lo' },
      { index: 2, name: 'eth0' },
      { index: 3, name: 'veth1', kind: 'veth' },
    ];
    expect(decodeLinks(join(...links.map(linkMessage)), ignore)).toEqual([
      { ifindex: 1, name: 'lo', kind: undefined, loopback: true, linkedOutside: false },
      { ifindex: 2, name: 'eth0', kind: undefined, loopback: false, linkedOutside: false },
      { ifindex: 3, name: 'veth1', kind: 'veth', loopback: false, linkedOutside: false },
    ]);
  });

  it.each<[string, Omit<Given, 'index'>, boolean]>([
    ['veth of a Pod', { name: 'veth1', kind: 'veth', link: 2, netnsid: 0 }, true],
    ['veth that Calico named', { name: 'cali12', kind: 'veth', link: 2, netnsid: 7 }, true],
    ['veth that Cilium named', { name: 'lxc12', kind: 'veth', link: 2, netnsid: 7 }, true],
    ['veth of an ENI', { name: 'eni12', kind: 'veth', link: 3, netnsid: 9 }, true],
    ['netkit of a Pod', { name: 'lxc12', kind: 'netkit', link: 2, netnsid: 1 }, true],
    ['a pair of a kind to come', { name: 'x', kind: 'pair9', link: 2, netnsid: 1 }, true],
    ['a pair whose namespace has no number yet', { name: 'veth1', kind: 'veth', link: 2, netnsid: 0xffff_ffff }, true],
    ['veth with both ends here', { name: 'cilium_host', kind: 'veth', link: 5 }, false],
    ['netkit with both ends here', { name: 'nk0', kind: 'netkit', link: 5 }, false],
    ['vlan on a device of here', { name: 'eth0.5', kind: 'vlan', link: 2 }, false],
    ['macvlan on a device of here', { name: 'shim', kind: 'macvlan', link: 2 }, false],
    ['ipvlan on a device of here', { name: 'shim', kind: 'ipvlan', link: 2 }, false],
    ['bridge', { name: 'br0', kind: 'bridge' }, false],
    ['port of Open vSwitch', { name: 'ovs0', kind: 'openvswitch' }, false],
    ['representor, or a virtual function', { name: 'pf0vf1' }, false],
    ['tunnel that was made in another namespace', { name: 'vxlan1', kind: 'vxlan', link: 0, netnsid: 3 }, false],
  ])('reports whether the device at the other end is in another namespace: %s', (_, given, linkedOutside) => {
    expect(decodeLinks(linkMessage({ index: 9, ...given }), ignore)).toMatchObject([{ ifindex: 9, linkedOutside }]);
  });

  it('keeps names distinct that are not UTF-8', () => {
    const names = [Uint8Array.of(0xff, 0x31, 0), Uint8Array.of(0xfe, 0x31, 0)];
    const links = decodeLinks(join(...names.map((name, index) => linkMessage({ index, name }))), ignore);
    expect(links.map(({ name }) => name)).toEqual(['/ff1', '/fe1']);
  });
});
