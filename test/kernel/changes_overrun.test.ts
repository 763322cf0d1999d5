import { afterEach, beforeEach, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '#core/clock.ts';
import { NetworkChanges } from '#sources/netlink/changes/network_changes.ts';
import type { Change } from '#sources/netlink/changes/network_state.ts';
import { netlinkIn } from '../support/changes_probe.ts';
import { TestNetns } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';

interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly mtu: number;
  readonly flags: readonly string[];
}

interface IpAddress {
  readonly ifindex: number;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

interface IpRoute {
  readonly dst: string;
  readonly dev: string;
  readonly gateway?: string;
}

const resources = { current: new AsyncDisposableStack() };
let netns: TestNetns;
let network: NetworkChanges;
let changes: Change[];
let overruns: number;

beforeEach(async () => {
  resources.current = new AsyncDisposableStack();
  netns = resources.current.use(new TestNetns());
  netns.batch('link set lo up', 'link add br0 type bridge', 'link set br0 up', 'addr add 10.0.0.1/8 dev br0');
  netns.batch('route add 192.168.0.0/16 via 10.0.0.2', 'rule add from 10.0.0.3 table 77', 'link add gone type bridge');
  changes = [];
  overruns = 0;
  const { client, entry } = netlinkIn(netns);
  network = resources.current.use(
    await NetworkChanges.open({
      client,
      entry,
      clock: SYSTEM_CLOCK,
      told: (change) => changes.push(change),
      overran: () => overruns++,
      queueBytes: 64 * 1024,
    }),
  );
});
afterEach(() => resources.current.disposeAsync());

/** Returns the state that `ip` reports, in the format of `known`. */
function shown() {
  const json = <T>(line: string) => JSON.parse(netns.ip(`-j ${line}`) || '[]') as T[];
  const routes = (family: string) =>
    json<IpRoute>(`${family} route show table all`)
      .filter((route) => !('table' in route && route.table === 'local'))
      .map(
        ({ dst, dev, gateway }) =>
          `${dst === 'default' ? dst : dst.replace(/\/(32|128)$/, '')} ${gateway ?? ''} ${dev}`,
      );
  return {
    links: json<IpLink>('link show')
      .map(({ ifindex, ifname, mtu, flags }) => `${ifindex} ${ifname} ${mtu} ${flags.includes('UP')}`)
      .sort(),
    addresses: json<IpAddress>('address show')
      .flatMap(({ ifindex, addr_info }) => addr_info.map(({ local, prefixlen }) => `${ifindex} ${local}/${prefixlen}`))
      .sort(),
    routes: [...routes('-4'), ...routes('-6')].sort(),
    rules: json('-4 rule show').length + json('-6 rule show').length,
  };
}

function known(): ReturnType<typeof shown> {
  const { links, addresses, routes, rules } = network.state;
  const nameOf = (ifindex: number | undefined) => links.get(ifindex ?? 0)?.name;
  return {
    links: [...links.values()].map(({ ifindex, name, mtu, up }) => `${ifindex} ${name} ${mtu} ${up}`).sort(),
    addresses: [...addresses.keys()].map((key) => key.replace(/^ipv[46] /, '')).sort(),
    routes: [...routes.values()]
      .flat()
      .map(({ network: to, prefix, hops: [hop] }) => {
        const whole = prefix === (to.includes(':') ? 128 : 32);
        return `${prefix === 0 ? 'default' : whole ? to : `${to}/${prefix}`} ${hop?.gateway ?? ''} ${nameOf(hop?.ifindex)}`;
      })
      .sort(),
    rules: rules.size,
  };
}

it('the known state equals that of `ip`, at the start and after each change', async () => {
  expect(known()).toEqual(shown());
  netns.batch('addr add fd08::1/64 dev br0 nodad', 'route add fd99::/16 via fd08::2', 'route add default via 10.0.0.9');
  await eventually(() => expect(known()).toEqual(shown()));
  netns.batch('link set br0 down');
  await eventually(() => expect(known()).toEqual(shown()));
  expect(overruns).toBe(0);
});

it('an overrun of a blocked reader is counted, and the state that is read again equals that of `ip`', async () => {
  const numbers = Array.from({ length: 2_000 }, (_, index) => index);
  // The call blocks this thread, so the reader receives nothing while the commands run.
  netns.batch(
    ...numbers.map((index) => `addr add 10.1.${index >> 8}.${index & 255}/32 dev br0`),
    ...numbers.slice(1_500).map((index) => `addr del 10.1.${index >> 8}.${index & 255}/32 dev br0`),
    'link set br0 mtu 1400',
    'link del gone',
    'link add came type bridge',
    'route replace 192.168.0.0/16 via 10.0.0.7',
    'rule del from 10.0.0.3 table 77',
    'rule add from 10.0.0.4 table 77',
    'rule add from 10.0.0.5 table 77',
  );
  await eventually(() => expect(known()).toEqual(shown()));
  expect(overruns).toBe(1);
  expect(known().addresses).toContain('3 10.1.0.1/32'.replace(/^3/, String(indexOf('br0'))));
  const told = (what: Change['what']) =>
    changes.flatMap((change) => (change.what === what && 'change' in change ? [change.change] : []));
  // Each change is counted once, whether its notification was received before the overrun or the change was found by
  // reading the state again.
  expect(told('link').sort()).toEqual(['added', 'mtu', 'removed']);
  expect(told('route')).toEqual(['replaced']);
  expect(told('rule').sort()).toEqual(['added', 'added', 'removed']);
  expect(told('address').filter((change) => change === 'added')).toHaveLength(1_500);
  // Notifications arrive again after the overrun.
  changes.length = 0;
  netns.batch('link set br0 mtu 1300');
  await eventually(() => expect(told('link')).toEqual(['mtu']));
});

function indexOf(device: string): number {
  return Number(/^(\d+):/.exec(netns.ip(`link show ${device}`))?.[1]);
}
