import { formatLink, MessageType } from 'netlink/dist/rt/gen_structs.js';
import { describe, expect, it } from 'vitest';
import { attribute, join, linkInfo, linkMessage, message, numbers } from '../../../test/support/netlink.ts';
import { decodeLinks } from './link.ts';

const ignore = () => undefined;

const IFLA_IFNAME = 3;

interface Given {
  readonly index: number;
  readonly loopback?: true;
  readonly name: string;
  readonly kind?: string;
  /** Values of the attributes IFLA_LINK and IFLA_LINK_NETNSID. */
  readonly link?: number;
  readonly netnsid?: number;
}

function messageOf({ index, loopback, name, kind, link, netnsid }: Given): Uint8Array {
  return linkMessage(
    { index, flags: { ...(loopback && { loopback }) } },
    {
      ifname: name,
      ...(link !== undefined && { link: numbers(link) }),
      ...(kind !== undefined && { linkinfo: linkInfo(kind) }),
      ...(netnsid !== undefined && { linkNetnsid: netnsid }),
    },
  );
}

describe('decodeLinks', () => {
  it('distinguishes software devices from others by their kind', () => {
    const links: Given[] = [
      { index: 1, loopback: true, name: 'lo' },
      { index: 2, name: 'eth0' },
      { index: 3, name: 'veth1', kind: 'veth' },
    ];
    expect(decodeLinks(join(...links.map(messageOf)), ignore)).toEqual([
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
    ['a pair whose namespace has no number yet', { name: 'veth1', kind: 'veth', link: 2, netnsid: -1 }, true],
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
    expect(decodeLinks(messageOf({ index: 9, ...given }), ignore)).toMatchObject([{ ifindex: 9, linkedOutside }]);
  });

  it('keeps names distinct that are not UTF-8', () => {
    const names = [Uint8Array.of(0xff, 0x31, 0), Uint8Array.of(0xfe, 0x31, 0)];
    const messages = names.map((name, index) =>
      message(MessageType.NEWLINK, join(formatLink({ index }), attribute(IFLA_IFNAME, name))),
    );
    const links = decodeLinks(join(...messages), ignore);
    expect(links.map(({ name }) => name)).toEqual(['/ff1', '/fe1']);
  });
});
