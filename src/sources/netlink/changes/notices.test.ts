import fc from 'fast-check';
import {
  formatRoute,
  type NeighborState,
  type Route,
  type RouteAttrs,
  type RuleFlags,
} from 'netlink/dist/rt/gen_structs.js';
import { describe, expect, it } from 'vitest';
import {
  attribute,
  join,
  linkInfo,
  linkMessage,
  message,
  neighbourMessage,
  numbers,
  routeMessage,
  ruleMessage,
} from '../../../../test/support/netlink.ts';
import { decodeNotices, RTM } from './notices.ts';

const ignore = () => undefined;
const decode = (...messages: readonly Uint8Array[]) => decodeNotices(join(...messages), ignore);

const AF_INET = 2;
const AF_INET6 = 10;
const AF_BRIDGE = 7;
const RTA_GATEWAY = 5;
const RTA_VIA = 18;

interface GivenLink {
  readonly index: number;
  readonly family?: number;
  readonly type?: 'ETHER' | 'NONE';
  readonly up?: boolean;
  readonly kind?: string;
  readonly carrier?: number;
}

function link({ index, family = 0, type = 'ETHER', up = true, kind, carrier = 1 }: GivenLink, gone = false): Buffer {
  return linkMessage(
    { family, type, index, flags: up ? { up } : {} },
    { ifname: `d${index}`, mtu: 1500, carrier, ...(kind !== undefined && { linkinfo: linkInfo(kind) }) },
    gone,
  );
}

const IPV4_ROUTE: Route = { family: AF_INET, dstLen: 24, table: 254, protocol: 'STATIC', type: 'UNICAST' };

function neighbour(state: NeighborState, ...address: readonly number[]): Buffer {
  const family = address.length === 16 ? AF_INET6 : AF_INET;
  return neighbourMessage({ family, ifindex: 7, state, type: 1 }, { dst: Buffer.from(address) });
}

describe('notices', () => {
  it('of devices have their name, kind and state', () => {
    const [first, second] = decode(link({ index: 3, kind: 'bridge' }), link({ index: 4, up: false, carrier: 0 }, true));
    const bridge = { ifindex: 3, name: 'd3', kind: 'bridge', loopback: false, up: true, carrier: true, mtu: 1500 };
    expect(first).toEqual({ what: 'link', gone: false, link: bridge });
    expect(second).toMatchObject({ gone: true, link: { ifindex: 4, kind: undefined, up: false, carrier: false } });
  });

  it('distinguish a tap from a tunnel of the same driver', () => {
    const kinds = decode(link({ index: 1, kind: 'tun', type: 'NONE' }), link({ index: 2, kind: 'tun' }));
    expect(kinds).toMatchObject([{ link: { kind: 'tun' } }, { link: { kind: 'tap' } }]);
  });

  it('skip ports of bridges, which come as devices of another family', () => {
    expect(decode(link({ index: 3, family: AF_BRIDGE }), link({ index: 3, family: AF_BRIDGE }, true))).toEqual([]);
  });

  it('of routes have their next hops', () => {
    const hop = (index: number, ...gateway: readonly number[]) =>
      join(numbers(16, index), attribute(RTA_GATEWAY, Uint8Array.from(gateway)));
    const [single, several, viaIpv6] = decode(
      routeMessage(IPV4_ROUTE, { dst: Buffer.of(10, 1, 2, 0), gateway: Buffer.of(10, 0, 0, 1), oif: 9 }),
      routeMessage({ ...IPV4_ROUTE, dstLen: 0 }, { multipath: join(hop(4, 10, 0, 0, 1), hop(5, 10, 0, 0, 2)) }),
      // Not built with routeMessage(), because the netlink package assumes that RTA_VIA has three bytes.
      message(
        RTM.route,
        join(
          formatRoute(IPV4_ROUTE),
          attribute(1, Uint8Array.of(10, 1, 3, 0)),
          attribute(RTA_VIA, join(Uint8Array.of(AF_INET6, 0, 0xfd), new Uint8Array(14), Uint8Array.of(1))),
        ),
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

  it('of routes have another key for another identity, and another value for anything else that differs', () => {
    const base = { dst: Buffer.of(10, 1, 2, 0), gateway: Buffer.of(10, 0, 0, 1), oif: 9 };
    const routeOf = (data: Route, attrs: RouteAttrs) => {
      const [notice] = decode(routeMessage({ ...IPV4_ROUTE, ...data }, { ...base, ...attrs }));
      return notice?.what === 'route' ? notice.route : undefined;
    };
    const plain = routeOf({}, {});
    const identities = [
      routeOf({ dstLen: 25 }, {}),
      routeOf({ tos: 8 }, {}),
      routeOf({}, { dst: Buffer.of(10, 1, 3, 0) }),
      routeOf({ srcLen: 8 }, { src: Buffer.of(10, 0, 0, 0) }),
      routeOf({}, { priority: 5 }),
      routeOf({}, { table: 1000 }),
    ];
    expect(new Set([plain, ...identities].map((route) => route?.key)).size).toBe(1 + identities.length);
    const values = [
      routeOf({ type: 'BLACKHOLE' }, {}),
      routeOf({}, { prefsrc: Buffer.of(10, 0, 0, 7) }),
      routeOf({}, { metrics: { mtu: numbers(1400) } }),
      routeOf({}, { nhId: numbers(3) }),
      routeOf({}, { oif: 8 }),
      routeOf({}, { gateway: Buffer.of(10, 0, 0, 2) }),
    ];
    expect(new Set(values.map((route) => route?.key))).toEqual(new Set([plain?.key]));
    expect(new Set([plain, ...values].map((route) => route?.value)).size).toBe(1 + values.length);
  });

  it('skip routes of the table local, and cached ones', () => {
    const cached = routeMessage({ ...IPV4_ROUTE, flags: { cloned: true } }, { dst: Buffer.of(10, 1, 2, 0) });
    const local = routeMessage({ ...IPV4_ROUTE, dstLen: 32, table: 255 }, { dst: Buffer.of(10, 0, 0, 1) });
    const wide = routeMessage({ ...IPV4_ROUTE, table: 252 }, { dst: Buffer.of(10, 0, 0, 1), table: 255 });
    expect(decode(local, wide, cached)).toEqual([]);
  });

  it('of neighbours say whether the resolution failed', () => {
    const ipv6 = [0xfd, ...new Array<number>(14).fill(0), 5];
    expect(decode(neighbour({ failed: true }, 10, 0, 0, 9), neighbour({ reachable: true }, ...ipv6))).toMatchObject([
      { family: 'ipv4', ifindex: 7, address: '10.0.0.9', failed: true },
      { family: 'ipv6', ifindex: 7, address: 'fd00::5', failed: false },
    ]);
  });

  it('of rules have equal keys for any flags, which change with the device of the rule', () => {
    const rule = (flags: RuleFlags, priority: number) =>
      ruleMessage({ family: AF_INET, table: 254, action: 'toTbl', flags }, { priority });
    const keys = decode(rule({}, 5), rule({ iifDetached: true }, 5), rule({}, 6)).map((notice) =>
      'key' in notice ? notice.key : '',
    );
    expect(keys[0]).toBe(keys[1]);
    expect(keys[0]).not.toBe(keys[2]);
  });

  it('are never wrong if messages are cut, and malformed ones are counted', () => {
    const whole = join(
      link({ index: 3, kind: 'veth' }),
      routeMessage(IPV4_ROUTE, { dst: Buffer.of(10, 1, 2, 0), oif: 9 }),
      neighbour({ failed: true }, 10, 0, 0, 9),
    );
    const all = decodeNotices(whole, ignore);
    expect(all).toHaveLength(3);
    for (let bytes = 0; bytes < whole.length; bytes++) {
      const cut = decodeNotices(whole.subarray(0, bytes), ignore);
      expect(cut).toEqual(all.slice(0, cut.length));
    }
    const malformed: string[] = [];
    decodeNotices(
      join(neighbour({ failed: true }, 10, 0, 0), routeMessage(IPV4_ROUTE, { dst: Buffer.of(10) })),
      (what) => malformed.push(what),
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
