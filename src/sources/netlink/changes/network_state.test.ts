import { describe, expect, it } from 'vitest';
import { type Change, NetworkState, REMEMBERED_MAX } from './network_state.ts';
import type { Link, Notice, What } from './notices.ts';
import type { Route } from './routes.ts';

const LINK: Link = { ifindex: 3, name: 'br0', kind: 'bridge', loopback: false, up: true, carrier: true, mtu: 1500 };

const linkNotice = (changed: Partial<Link> = {}, gone = false): Notice => ({
  what: 'link',
  gone,
  link: { ...LINK, ...changed },
});

function routeOf(value: string, key = 'default'): Route {
  const hops = [{ gateway: value, ifindex: 3 }];
  return { family: 'ipv4', network: '0.0.0.0', prefix: 0, table: 254, key, hops, value };
}
const routeNotice = (route: Route, gone = false, replaces = false): Notice => ({
  what: 'route',
  gone,
  replaces,
  route,
});
const failure = (address: string, failed = true): Notice => ({
  what: 'neighbour',
  gone: false,
  family: 'ipv4',
  ifindex: 3,
  address,
  failed,
});

function follow() {
  const told: Change[] = [];
  const leftOut: What[] = [];
  const state = new NetworkState(
    (change) => told.push(change),
    (what) => leftOut.push(what),
  );
  /** Returns the changes since the previous call. */
  const changes = () => told.splice(0).map((change) => ('change' in change ? change.change : change.address));
  return { state, changes, leftOut };
}

describe('the state of a network', () => {
  it('counts each change of a device once, and nothing if a notice repeats it', () => {
    const { state, changes } = follow();
    for (const notice of [linkNotice(), linkNotice(), linkNotice({ mtu: 1400 }), linkNotice({ mtu: 1400 })])
      state.apply(notice);
    expect(changes()).toEqual(['added', 'up', 'mtu']);
    state.apply(linkNotice({ mtu: 1400, carrier: false }));
    state.apply(linkNotice({ mtu: 1400, carrier: false, up: false }));
    // While a device is down, its carrier state is meaningless.
    state.apply(linkNotice({ mtu: 1400, carrier: true, up: false }));
    state.apply(linkNotice({}, true));
    state.apply(linkNotice({}, true));
    expect(changes()).toEqual(['carrier', 'down', 'removed']);
  });

  it('distinguishes routes that differ only in their next hop', () => {
    const { state, changes } = follow();
    state.apply(routeNotice(routeOf('10.0.0.1')));
    state.apply(routeNotice(routeOf('10.0.0.2')));
    state.apply(routeNotice(routeOf('10.0.0.1'), true));
    expect(changes()).toEqual(['added', 'replaced', 'replaced']);
    expect([state.isGateway('10.0.0.1'), state.isGateway('10.0.0.2')]).toEqual([false, true]);
    state.apply(routeNotice(routeOf('10.0.0.3'), false, true));
    state.apply(routeNotice(routeOf('10.0.0.3'), false, true));
    state.apply(routeNotice(routeOf('10.0.0.3'), true));
    expect(changes()).toEqual(['replaced', 'removed']);
  });

  it('asks for routes that the kernel removes without a notification, and for those that it does not know', () => {
    const { state } = follow();
    state.apply(linkNotice());
    expect(state.apply(linkNotice({ up: false }))).toBeUndefined();
    state.apply(linkNotice());
    state.apply(routeNotice(routeOf('10.0.0.1')));
    expect(state.apply(linkNotice({ up: false }))).toBe('route');
    expect(state.apply(linkNotice({}, true))).toBe('route');
    expect(state.apply(routeNotice(routeOf('10.0.0.9'), true))).toBe('route');
    expect(state.apply(routeNotice(routeOf('10.0.0.9', 'other'), true))).toBeUndefined();
  });

  it('counts each failure of a neighbour, and those of a dump only if they are new', () => {
    const { state, changes } = follow();
    state.apply(failure('10.0.0.9'));
    state.apply(failure('10.0.0.9'));
    expect(changes()).toEqual(['10.0.0.9', '10.0.0.9']);
    state.replace('neighbour', [failure('10.0.0.9'), failure('10.0.0.8'), failure('10.0.0.7', false)]);
    expect(changes()).toEqual(['10.0.0.8']);
  });

  it('finds the difference to a dump', () => {
    const { state, changes } = follow();
    state.apply(linkNotice());
    state.apply(linkNotice({ ifindex: 4, name: 'gone', up: false }));
    state.apply(routeNotice(routeOf('10.0.0.1')));
    state.apply({ what: 'address', gone: false, family: 'ipv4', key: '3 10.0.0.5/24' });
    changes();
    state.replace('link', [linkNotice({ mtu: 1300 }), linkNotice({ ifindex: 5, up: false })]);
    expect(changes()).toEqual(['removed', 'mtu', 'added']);
    state.replace('route', [routeNotice(routeOf('10.0.0.1')), routeNotice(routeOf('10.0.0.1', 'other'))]);
    expect(changes()).toEqual(['added']);
    state.replace('address', [{ what: 'address', gone: false, family: 'ipv4', key: '3 10.0.0.6/24' }]);
    expect(changes()).toEqual(['removed', 'added']);
    state.replace('rule', []);
    expect(changes()).toEqual([]);
  });

  it('is bounded, and reports notices that find no room', () => {
    const { state, changes, leftOut } = follow();
    for (let index = 0; index <= REMEMBERED_MAX; index++) {
      state.apply({ what: 'address', gone: false, family: 'ipv6', key: `3 fd00::${index.toString(16)}/64` });
    }
    expect(changes()).toHaveLength(REMEMBERED_MAX);
    expect(leftOut).toEqual(['address']);
  });
});
