import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChangesProbe } from '../support/changes_probe.ts';
import { TestNetns, uniqueName } from '../support/hosts.ts';
import { IpMonitor, MonitoredLinks } from '../support/ip_monitor.ts';
import { eventually } from '../support/oracle.ts';
import { checkQuietNetwork } from '../support/quiet_network.ts';

let netns: TestNetns;
let probe: ChangesProbe;
let monitor: IpMonitor;
const resources = { current: new AsyncDisposableStack() };

/** Creates a bridge `br0` that has addresses, and a veth device as its port so that the bridge has a carrier. */
beforeEach(async () => {
  resources.current = new AsyncDisposableStack();
  netns = resources.current.use(new TestNetns());
  netns.exec('sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0');
  netns.ip('link set lo up');
  netns.ip('link add br0 type bridge');
  netns.ip('link add port type veth peer name other');
  netns.ip('link set port master br0 up');
  netns.ip('link set other up');
  netns.ip('link set br0 up');
  netns.ip('addr add 10.8.0.1/24 dev br0');
  netns.ip('addr add fd08::1/64 dev br0 nodad');
  await eventually(() => expect(netns.ip('link show br0')).toContain('LOWER_UP'));
  probe = resources.current.use(
    await ChangesProbe.open(netns, { networks: ['10.66.0.0/16', 'fd66::/48'], podAddresses: ['10.8.0.77'] }),
  );
  monitor = resources.current.use(await IpMonitor.start(netns));
});
afterEach(() => resources.current.disposeAsync());

/** Returns the counts without the routing rules that serve as markers in the output of `ip monitor`. */
async function counted(): Promise<Record<string, unknown>> {
  const counts = await probe.counts();
  for (const key of Object.keys(counts))
    if (/^rules |^neighbour(Entries|Limit|Overflows)/.test(key)) delete counts[key];
  return counts;
}

const told = (type: string) => probe.events.filter((event) => event.type === type).map(({ fields }) => fields);
const linesOf = (lines: readonly string[], label: string) => lines.filter((line) => line.startsWith(`[${label}]`));

describe('changes of devices', () => {
  it('are counted, and are one event each: added, up, down, mtu, removed', async () => {
    const links = new MonitoredLinks();
    netns.ip('link add vx0 type vxlan id 5 dstport 4789');
    for (const command of ['vx0 up', 'vx0 down', 'vx0 mtu 1300', 'vx0 up']) netns.ip(`link set ${command}`);
    netns.ip('link del vx0');
    links.read(await monitor.settled());
    const expected = { 'vx0 added': 1, 'vx0 up': 2, 'vx0 down': 2, 'vx0 mtu': 1, 'vx0 removed': 1 };
    expect(links.counts).toEqual(expected);
    await eventually(async () => {
      const ours = Object.entries(await counted()).filter(([key]) => key.startsWith('links'));
      expect(ours.sort()).toEqual(
        Object.entries(expected)
          .map(([key, count]) => [key.replace('vx0 ', 'links device=vx0 change='), count])
          .sort(),
      );
    });
    expect(told('link_changed').map(({ device, kind, change }) => `${device} ${kind} ${change}`)).toEqual(
      ['added', 'up', 'down', 'mtu', 'up', 'down', 'removed'].map((change) => `vx0 vxlan ${change}`),
    );
    expect(told('link_changed')[3]).toMatchObject({ mtu: 1300, mtuBefore: 1500 });
  });

  it('include a carrier that is lost and comes back; a veth port is counted by its kind', async () => {
    netns.ip('link set other down');
    await eventually(() =>
      expect(told('link_changed')).toEqual([
        { device: 'br0', kind: 'bridge', change: 'carrier', mtu: 1500, carrier: 'off' },
      ]),
    );
    expect(probe.events[0]?.severity).toBe('warning');
    netns.ip('link set other up');
    await eventually(() => expect(told('link_changed')).toHaveLength(2));
    expect(told('link_changed')[1]).toMatchObject({ change: 'carrier', carrier: 'on' });
    expect(probe.events[1]?.severity).toBe('info');
    expect(await counted()).toMatchObject({
      'links device=br0 change=carrier': 2,
      'links device=kind:veth change=carrier': 2,
      'links device=kind:veth change=down': 1,
      'links device=kind:veth change=up': 1,
    });
  });

  it('leave out notifications that change nothing', async () => {
    netns.ip('link set br0 alias something');
    netns.ip('link set br0 promisc on');
    netns.exec('bridge link set dev port cost 7');
    netns.ip('link set br0 type bridge forward_delay 400');
    netns.ip('addr change 10.8.0.1/24 dev br0 valid_lft 5000 preferred_lft 4000');
    netns.ip('route replace 10.8.0.0/24 dev br0 proto kernel scope link src 10.8.0.1');
    const lines = await monitor.settled();
    expect(linesOf(lines, 'LINK').length).toBeGreaterThanOrEqual(4);
    expect(linesOf(lines, 'ADDR')).toHaveLength(1);
    expect(await counted()).toEqual({});
    expect(probe.events).toEqual([]);
  });

  it('leave out a port that leaves its bridge, which the kernel reports as deleted', async () => {
    netns.ip('link add p2 type veth peer name q2');
    netns.ip('link set p2 master br0');
    netns.ip('link set p2 nomaster');
    const lines = await monitor.settled();
    // The kernel deleted the bridge port. The device itself still exists.
    expect(linesOf(lines, 'LINK').some((line) => line.startsWith('[LINK]Deleted'))).toBe(true);
    await eventually(async () => expect(await counted()).toEqual({ 'links device=kind:veth change=added': 2 }));
  });
});

describe.each([
  ['ipv4', '-4', '10.8.0.2', '10.8.0.3', '10.66.1.0/24', '10.99.0.0/16'],
  ['ipv6', '-6', 'fd08::2', 'fd08::3', 'fd66:0:0:1::/64', 'fd99::/16'],
])('routes of %s', (family, option, first, second, inside, outside) => {
  it('are counted, and are one event each if they are default or inside `networks`', async () => {
    const commands = [
      `route add default via ${first}`,
      `route replace default via ${second}`,
      'route del default',
      `route add ${inside} via ${first} table 77`,
      `route add ${outside} via ${first}`,
      `route del ${outside}`,
    ];
    for (const command of commands) netns.ip(`${option} ${command}`);
    const lines = linesOf(await monitor.settled(), 'ROUTE');
    expect(lines).toHaveLength(commands.length);
    expect(await counted()).toEqual({
      [`routes family=${family} change=added`]: 3,
      [`routes family=${family} change=replaced`]: 1,
      [`routes family=${family} change=removed`]: 2,
    });
    const via = [`${first} dev br0`];
    const later = [`${second} dev br0`];
    expect(told('route_changed')).toEqual([
      { family, destination: 'default', table: 254, change: 'added', via },
      { family, destination: 'default', table: 254, change: 'replaced', via: later, viaBefore: via },
      { family, destination: 'default', table: 254, change: 'removed', viaBefore: later },
      { family, destination: inside.replace(':0:0:', ':0:0:'), table: 77, change: 'added', via },
    ]);
    expect(probe.events.map(({ severity }) => severity)).toEqual(['info', 'warning', 'warning', 'info']);
  });

  it('have all their next hops in the event', async () => {
    netns.ip(`${option} route add default nexthop via ${first} nexthop via ${second}`);
    await eventually(() => expect(told('route_changed')).toHaveLength(1));
    expect(told('route_changed')[0]?.['via']).toEqual([`${first} dev br0`, `${second} dev br0`]);
    netns.ip(`${option} route del default`);
    await eventually(() => expect(told('route_changed').map(({ change }) => change)).toEqual(['added', 'removed']));
  });

  it('routing rules are counted without an event', async () => {
    const before = await probe.counts();
    netns.ip(`${option} rule add from ${first} table 77`);
    await eventually(async () => {
      const key = `rules family=${family} change=added`;
      expect(Number((await probe.counts())[key]) - Number(before[key] ?? 0)).toBe(1);
    });
    expect(probe.events).toEqual([]);
  });
});

it('IPv4 routes that the kernel removes with their device, without a notification, are events', async () => {
  netns.ip('route add default via 10.8.0.2');
  await eventually(() => expect(told('route_changed')).toHaveLength(1));
  await monitor.settled();
  netns.ip('link set br0 down');
  expect(linesOf(await monitor.settled(), 'ROUTE').filter((line) => line.includes('default'))).toEqual([]);
  await eventually(() => expect(told('route_changed').map(({ change }) => change)).toEqual(['added', 'removed']));
});

it('routes inside the networks of the Pods are events if no `networks` are configured', async () => {
  await using ofPods = await ChangesProbe.open(netns, { podNetworks: ['10.67.0.0/16'] });
  netns.ip('route add 10.67.5.0/24 via 10.8.0.2');
  netns.ip('route add 10.66.5.0/24 via 10.8.0.2');
  await eventually(() => {
    expect(told('route_changed').map(({ destination }) => destination)).toEqual(['10.66.5.0/24']);
    expect(ofPods.events.map(({ fields }) => fields['destination'])).toEqual(['10.67.5.0/24']);
  });
});

it('events beyond the limit are counted as limited', async () => {
  await using limited = await ChangesProbe.open(netns, { limit: 1 });
  for (let times = 0; times < 10; times++) netns.ip(`link set br0 mtu ${1_400 + times}`);
  await eventually(() => expect(limited.ledger.produced).toBe(10n));
  expect(limited.ledger.limited).toBeGreaterThan(0n);
  expect(limited.events).toHaveLength(Number(limited.ledger.produced - limited.ledger.limited));
});

it('addresses are counted as `ip monitor` shows them', async () => {
  netns.ip('addr add 10.8.0.9/24 dev br0');
  netns.ip('addr add fd08::9/64 dev br0 nodad');
  netns.ip('addr del 10.8.0.9/24 dev br0');
  expect(linesOf(await monitor.settled(), 'ADDR')).toHaveLength(3);
  await eventually(async () => expect(await counted()).toMatchObject({ addresses: 3 }));
});

it('a failed neighbour is counted, and is an event if it is a next hop or a Pod', async () => {
  for (const family of ['ipv4', 'ipv6']) {
    netns.exec(`sysctl -qw net.${family}.neigh.br0.mcast_solicit=1 net.${family}.neigh.br0.retrans_time_ms=100`);
  }
  netns.ip('route add default via 10.8.0.2');
  netns.ip('-6 route add default via fd08::2');
  await monitor.settled();
  const ask = (address: string) => {
    const family = address.includes(':') ? 'AF_INET6' : 'AF_INET';
    netns.python(`import socket; socket.socket(socket.${family}, socket.SOCK_DGRAM).sendto(b'x', ('${address}', 9))`);
  };
  for (const address of ['10.1.2.3', 'fd01::1', '10.8.0.77', '10.8.0.88']) ask(address);
  const failed: string[] = [];
  await eventually(async () => {
    failed.push(...linesOf(await monitor.settled(), 'NEIGH').filter((line) => line.includes('FAILED')));
    expect(failed).toHaveLength(4);
  });
  expect(await counted()).toMatchObject({ 'neighbourFailures device=br0': 4 });
  const events = probe.events.filter(({ type }) => type === 'neighbour_failed');
  expect(events.map(({ dst, fields }) => `${dst} ${fields['device']} ${fields['role']}`).sort()).toEqual([
    '10.8.0.2 br0 next hop',
    '10.8.0.77 br0 pod',
    'fd08::2 br0 next hop',
  ]);
  // A second failure within a minute is counted, but sends no event.
  const before = probe.ledger;
  ask('10.8.0.77');
  await eventually(async () => expect(await counted()).toMatchObject({ 'neighbourFailures device=br0': 5 }));
  expect(probe.ledger).toEqual({ ...before, produced: before.produced + 1n, limited: before.limited + 1n });
  expect(probe.events.filter(({ type }) => type === 'neighbour_failed')).toHaveLength(3);
});

it('a thousand veth pairs that start and end, fifty with an end that moves to another namespace, are counted exactly, with at most three events', async () => {
  using others = new TestNetns();
  const links = new MonitoredLinks();
  const numbers = Array.from({ length: 1_000 }, (_, index) => index);
  const commands = [
    ...numbers.map((index) => `link add v${index} type veth peer name w${index}`),
    ...numbers.slice(0, 50).map((index) => `link set w${index} netns ${others.name}`),
    ...numbers.map((index) => `link del v${index}`),
  ];
  // `ip monitor` has a smaller receive buffer than the probe, and must not overrun.
  for (let at = 0; at < commands.length; at += 50) {
    netns.batch(...commands.slice(at, at + 50));
    links.read(await monitor.settled());
  }
  const sums: Record<string, number> = {};
  for (const [key, count] of Object.entries(links.counts)) {
    if (!/^[vw]\d/.test(key)) continue;
    const change = key.split(' ')[1] ?? '';
    sums[change] = (sums[change] ?? 0) + count;
  }
  expect(sums).toEqual({ added: 2_000, removed: 2_000 });
  await eventually(async () =>
    expect(await counted()).toMatchObject({
      'links device=kind:veth change=added': 2_000,
      'links device=kind:veth change=removed': 2_000,
    }),
  );
  const ofLinks = Object.keys(await counted()).filter((key) => key.startsWith('links'));
  expect(ofLinks).toHaveLength(2);
  expect(await counted()).not.toHaveProperty('overruns');
  expect(probe.events.length).toBeLessThanOrEqual(3);
});

it('nftables transactions are counted, and are events by table with the process that made them', async () => {
  const nft = (...commands: readonly string[]) => netns.exec(`nft ${commands.join(' ; ')}`);
  nft('add table inet mine');
  nft('add chain inet mine c');
  nft('add table ip known');
  nft('add table ip cni_hostport');
  await eventually(async () => expect(await counted()).toEqual({ rulesets: 4 }));
  expect(told('ruleset_changed')).toEqual([{ table: 'inet mine', process: 'nft', pid: expect.any(Number) }]);
});

it('a quiet network has no event, and a link that goes down afterwards has one', () => checkQuietNetwork(5));

it('counts continue after the probe was off, and it leaves no descriptor', async () => {
  const name = uniqueName('b');
  netns.ip(`link add ${name} type bridge`);
  netns.exec('nft add table inet mine');
  const expected = { rulesets: 1, [`links device=${name} change=added`]: 1 };
  await eventually(async () => expect(await counted()).toEqual(expected));
  const { retained } = probe;
  await probe[Symbol.asyncDispose]();
  netns.ip(`link del ${name}`);
  const before = readdirSync('/proc/self/fd').length;
  const second = await ChangesProbe.open(netns, { retained });
  // The probe holds an rtnetlink socket and an nftables socket.
  expect(readdirSync('/proc/self/fd').length).toBe(before + 2);
  // The bridge was deleted while the probe was off, so it is not counted.
  probe = second;
  expect(await counted()).toEqual(expected);
  await second[Symbol.asyncDispose]();
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});
