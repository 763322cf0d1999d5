import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../../test/support/netlink.ts';
import { decodeNotices, RTM } from './notices.ts';

const ignore = () => undefined;
const cString = (value: string) => Uint8Array.from(Buffer.from(`${value}\0`));
const decode = (...messages: readonly Uint8Array[]) => decodeNotices(join(...messages), ignore);

interface GivenLink {
  readonly index: number;
  readonly family?: number;
  readonly type?: number;
  readonly flags?: number;
  readonly kind?: string;
  readonly carrier?: number;
}

function link({ index, family = 0, type = 1, flags = 1, kind, carrier = 1 }: GivenLink, gone = false): Uint8Array {
  return message(
    RTM.link + (gone ? 1 : 0),
    join(
      numbers(family | (type << 16), index, flags, 0),
      attribute(3, cString(`d${index}`)),
      attribute(4, numbers(1500)),
      attribute(33, Uint8Array.of(carrier)),
      ...(kind === undefined ? [] : [attribute(18, attribute(1, cString(kind)))]),
    ),
  );
}

/** Encodes struct rtmsg and attributes. */
function route(header: readonly number[], ...attributes: readonly Uint8Array[]): Uint8Array {
  return message(RTM.route, join(Uint8Array.from(header), numbers(0), ...attributes));
}
const IPV4_ROUTE = [2, 24, 0, 0, 254, 4, 0, 1];

function neighbour(state: number, ...address: readonly number[]): Uint8Array {
  const header = join(numbers(address.length === 4 ? 2 : 10, 7), Uint8Array.of(state, 0, 0, 1));
  return message(RTM.neighbour, join(header, attribute(1, Uint8Array.from(address))));
}

describe('notices', () => {
  it('of devices have their name, kind and state', () => {
    const [first, second] = decode(link({ index: 3, kind: 'bridge' }), link({ index: 4, flags: 0, carrier: 0 }, true));
    const bridge = { ifindex: 3, name: 'd3', kind: 'bridge', loopback: false, up: true, carrier: true, mtu: 1500 };
    expect(first).toEqual({ what: 'link', gone: false, link: bridge });
    expect(second).toMatchObject({ gone: true, link: { ifindex: 4, kind: undefined, up: false, carrier: false } });
  });

  it('distinguish a tap from a tunnel of the same driver', () => {
    const kinds = decode(link({ index: 1, kind: 'tun', type: 65_534 }), link({ index: 2, kind: 'tun', type: 1 }));
    expect(kinds).toMatchObject([{ link: { kind: 'tun' } }, { link: { kind: 'tap' } }]);
  });

  it('skip ports of bridges, which come as devices of another family', () => {
    expect(decode(link({ index: 3, family: 7 }), link({ index: 3, family: 7 }, true))).toEqual([]);
  });

  it('of routes have their next hops', () => {
    const hop = (index: number, ...gateway: readonly number[]) =>
      join(numbers(16, index), attribute(5, Uint8Array.from(gateway)));
    const [single, several, viaIpv6] = decode(
      route(
        IPV4_ROUTE,
        attribute(1, Uint8Array.of(10, 1, 2, 0)),
        attribute(5, Uint8Array.of(10, 0, 0, 1)),
        attribute(4, numbers(9)),
      ),
      route([2, 0, 0, 0, 254, 4, 0, 1], attribute(9, join(hop(4, 10, 0, 0, 1), hop(5, 10, 0, 0, 2)))),
      route(
        IPV4_ROUTE,
        attribute(1, Uint8Array.of(10, 1, 3, 0)),
        attribute(18, join(Uint8Array.of(10, 0, 0xfd), new Uint8Array(14), Uint8Array.of(1))),
      ),
    );
    expect(single).toMatchObject({
      route: { network: '10.1.2.0', prefix: 24, table: 254, hops: [{ gateway: '10.0.0.1', ifindex: 9 }] },
    });
    expect(several).toMatchObject({
      route: {
        network: '0.0.0.0',
        prefix: 0,
        hops: [
          { gateway: '10.0.0.1', ifindex: 4 },
          { gateway: '10.0.0.2', ifindex: 5 },
        ],
      },
    });
    expect(viaIpv6).toMatchObject({ route: { hops: [{ gateway: 'fd00::1' }] } });
  });

  it('skip routes of the table local, and cached ones', () => {
    const cached = message(
      RTM.route,
      join(Uint8Array.from(IPV4_ROUTE), numbers(0x200), attribute(1, Uint8Array.of(10, 1, 2, 0))),
    );
    expect(decode(route([2, 32, 0, 0, 255, 2, 0, 2], attribute(1, Uint8Array.of(10, 0, 0, 1))), cached)).toEqual([]);
  });

  it('of neighbours say whether the resolution failed', () => {
    const ipv6 = [0xfd, ...new Array<number>(14).fill(0), 5];
    expect(decode(neighbour(0x20, 10, 0, 0, 9), neighbour(0x02, ...ipv6))).toMatchObject([
      { family: 'ipv4', ifindex: 7, address: '10.0.0.9', failed: true },
      { family: 'ipv6', ifindex: 7, address: 'fd00::5', failed: false },
    ]);
  });

  it('of rules have equal keys for any flags, which change with the device of the rule', () => {
    const rule = (flags: number, priority: number) =>
      message(RTM.rule, join(Uint8Array.of(2, 0, 0, 0, 254, 0, 0, 1), numbers(flags), attribute(6, numbers(priority))));
    const keys = decode(rule(0, 5), rule(8, 5), rule(0, 6)).map((notice) => ('key' in notice ? notice.key : ''));
    expect(keys[0]).toBe(keys[1]);
    expect(keys[0]).not.toBe(keys[2]);
  });

  it('are never wrong if messages are cut, and malformed ones are counted', () => {
    const whole = join(
      link({ index: 3, kind: 'veth' }),
      route(IPV4_ROUTE, attribute(1, Uint8Array.of(10, 1, 2, 0)), attribute(4, numbers(9))),
      neighbour(0x20, 10, 0, 0, 9),
    );
    const all = decodeNotices(whole, ignore);
    expect(all).toHaveLength(3);
    for (let bytes = 0; bytes < whole.length; bytes++) {
      const cut = decodeNotices(whole.subarray(0, bytes), ignore);
      expect(cut).toEqual(all.slice(0, cut.length));
    }
    const malformed: string[] = [];
    decodeNotices(join(neighbour(0x20, 10, 0, 0), route(IPV4_ROUTE, attribute(1, Uint8Array.of(10)))), (what) =>
      malformed.push(what),
    );
    expect(malformed).toHaveLength(2);
  });

  it('survive any bytes', () => {
    const types = fc.constantFrom(...Object.values(RTM).flatMap((type) => [type, type + 1, type + 2]));
    fc.assert(
      fc.property(types, fc.constantFrom(0, 2, 10), fc.uint8Array({ maxLength: 200 }), (type, family, bytes) => {
        expect(Array.isArray(decode(message(type, join(Uint8Array.of(family), bytes))))).toBe(true);
      }),
    );
  });
});
