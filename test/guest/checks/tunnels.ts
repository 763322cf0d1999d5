import { deepEqual, equal, ok } from 'node:assert/strict';
import type { EventRecord } from '#api/events.ts';
import { withPeers } from '#events/enrich.ts';
import { LocalOwners } from '#peers/local.ts';
import { PeerResolver } from '#peers/resolver.ts';
import { run } from '../../support/command.ts';
import { sendFrames } from '../../support/frame_sender.ts';
import { HostPair } from '../../support/hosts.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import { decodeOuter, ipv4, TUNNEL_CASES, type TunnelCase, UDP } from '../../support/tunnel_packets.ts';
import { defineChecks, Inapplicable } from '../check.ts';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

const ETHERTYPE_IPV4 = 0x0800;
const FIELDS = ['tunnel', 'tunnelId', 'innerSrc', 'innerDst', 'innerProtocol'] as const;
/** Addresses in the memory behind cut packets. */
const STALE = '198.18.';
/** Fewer events than the ring buffer holds. */
const RING_EVENTS = 400;

/** Drops all packets in b, before the kernel has removed any of their headers and padding. */
async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  for (const rule of [
    'add table netdev t',
    `add chain netdev t in { type filter hook ingress device ${pair.deviceB} priority 0; policy drop; }`,
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  const packetloss = { enabled: true, limit: 100_000, pods: { names: [pair.b.netns.name] } };
  return { pair, agent: resources.use(await TestKernel.open(only({ packetloss }))) };
}

const tunnelOf = (event: EventRecord) =>
  Object.fromEntries(FIELDS.flatMap((field) => (event[field] === undefined ? [] : [[field, event[field]]])));

/** Sends packets, and returns the event of each. The source addresses of the packets tell them apart. */
async function eventsOf({ pair, agent }: Context, packets: readonly Buffer[]): Promise<EventRecord[]> {
  const numbered = packets.map((bytes, index) => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32BE(sourceOf(index), 12);
    return copy;
  });
  const found: EventRecord[] = [];
  for (let at = 0; at < numbered.length; at += RING_EVENTS) {
    agent.events.length = 0;
    const some = numbered.slice(at, at + RING_EVENTS);
    sendFrames(pair.a.netns, pair.deviceA, ETHERTYPE_IPV4, some);
    found.push(...(await eventually(() => some.map((_, index) => eventFrom(agent, dotted(sourceOf(at + index)))))));
  }
  return found;
}

function eventFrom({ events }: TestKernel, source: string): EventRecord {
  const event = events.find(({ src }) => src === source || src?.startsWith(`${source}:`));
  ok(event !== undefined, `no event of ${source} among ${events.length}`);
  return event;
}

const sourceOf = (index: number) => 0x0a_5a_00_01 + index;
const dotted = (address: number) => [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
const outer = ({ protocol, payload }: Pick<TunnelCase, 'protocol' | 'payload'>) =>
  ipv4('10.90.0.1', '10.9.0.2', protocol, payload);

/** Returns random numbers below `most` that are the same in each run. */
function randomOf(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

/** Packets that fill buffers with addresses which must never appear. */
const poison = () =>
  Array.from({ length: 64 }, () =>
    ipv4(`${STALE}1.1`, `${STALE}2.2`, UDP, Buffer.alloc(1_400, Buffer.from([198, 18]))),
  );

interface Device {
  readonly title: string;
  /** Arguments of `ip link add`, for one end. */
  readonly link: (local: string, remote: string) => string;
  readonly outer: 'ipv4' | 'ipv6';
  readonly inner: 'ipv4' | 'ipv6';
  readonly fields: { readonly tunnel: string; readonly tunnelId?: number };
  /** Whether frames are in the tunnel, so that the device has neighbours. */
  readonly hasFrames?: boolean;
}

const DEVICES: readonly Device[] = [
  {
    title: 'vxlan',
    link: (local, remote) => `type vxlan id 42 local ${local} remote ${remote} dstport 4789`,
    ...{ outer: 'ipv4', inner: 'ipv4', hasFrames: true },
    fields: { tunnel: 'vxlan', tunnelId: 42 },
  },
  {
    title: 'vxlan over IPv6',
    link: (local, remote) => `type vxlan id 43 local ${local} remote ${remote} dstport 8472`,
    ...{ outer: 'ipv6', inner: 'ipv6', hasFrames: true },
    fields: { tunnel: 'vxlan', tunnelId: 43 },
  },
  {
    title: 'geneve',
    link: (_, remote) => `type geneve id 44 remote ${remote}`,
    ...{ outer: 'ipv4', inner: 'ipv4', hasFrames: true },
    fields: { tunnel: 'geneve', tunnelId: 44 },
  },
  {
    title: 'ipip',
    link: (local, remote) => `type ipip local ${local} remote ${remote}`,
    ...{ outer: 'ipv4', inner: 'ipv4' },
    fields: { tunnel: 'ipip' },
  },
  {
    title: 'sit',
    link: (local, remote) => `type sit local ${local} remote ${remote}`,
    ...{ outer: 'ipv4', inner: 'ipv6' },
    fields: { tunnel: 'ip6' },
  },
  {
    title: 'gre',
    link: (local, remote) => `type gre local ${local} remote ${remote} key 77`,
    ...{ outer: 'ipv4', inner: 'ipv4' },
    fields: { tunnel: 'gre', tunnelId: 77 },
  },
  {
    title: 'gretap',
    link: (local, remote) => `type gretap local ${local} remote ${remote} key 78`,
    ...{ outer: 'ipv4', inner: 'ipv4', hasFrames: true },
    fields: { tunnel: 'gre', tunnelId: 78 },
  },
];

const POD = { ipv4: ['10.61.0.1', '10.61.0.2'], ipv6: ['fd61::1', 'fd61::2'] } as const;

/** Returns a check that a real device's packets name the Pods at its ends. */
function deviceCheck({ link, outer: outside, inner, fields, hasFrames = false }: Device) {
  return async ({ pair, agent }: Context) => {
    const [from, to] = [pair.addressA[outside], pair.addressB[outside]];
    const [pod, peer] = POD[inner];
    const length = inner === 'ipv4' ? 24 : 64;
    try {
      pair.a.netns.ip(`link add tun0 ${link(from, to)}`);
    } catch (error) {
      if (/Unknown device type|not supported/.test(String(error)))
        throw new Inapplicable('this kernel has no such device');
      throw error;
    }
    try {
      pair.b.netns.ip(`link add tun0 ${link(to, from)}`);
      for (const [{ netns }, address] of [
        [pair.a, pod],
        [pair.b, peer],
      ] as const) {
        netns.ip(`link set tun0 up`);
        netns.ip(`address add ${address}/${length} dev tun0${inner === 'ipv6' ? ' nodad' : ''}`);
      }
      if (hasFrames) pair.a.netns.ip(`neigh replace ${peer} lladdr 02:00:00:00:00:61 dev tun0`);
      const owners = new LocalOwners({
        entities: () => agent.kernel.entities(),
        node: 'n1',
        changed: () => undefined,
        limited: () => undefined,
      });
      const lookup = new PeerResolver(() => owners);
      await owners.settled();
      agent.events.length = 0;
      await pair.a.udpSend({ address: peer, port: 7_100, count: 3, bytes: 50 });
      const name = (address: string) => (inner === 'ipv6' ? `[${address}]` : address);
      const events = await eventually(() => {
        const found = agent.events.filter((event) => event['innerDst'] === `${name(peer)}:7100`);
        equal(found.length, 3, JSON.stringify(agent.events));
        return found;
      });
      for (const event of events) {
        deepEqual(
          { ...tunnelOf(event), innerSrc: '' },
          { ...fields, innerSrc: '', innerDst: `${name(peer)}:7100`, innerProtocol: 'udp' },
        );
        const { srcOwner, dstOwner, peer: other } = withPeers(event, 'n1', lookup);
        deepEqual(
          [srcOwner?.name, dstOwner?.name, other?.name],
          [pair.a.netns.name, pair.b.netns.name, pair.a.netns.name],
        );
        equal(srcOwner?.ip, pod);
      }
    } finally {
      for (const { netns } of [pair.a, pair.b])
        if (/^\d+: tun0[@:]/m.test(netns.ip('-o link'))) netns.ip('link del tun0');
    }
  };
}

export const tunnels = defineChecks('tunnels', open, {
  'events of crafted packets have the addresses in the tunnel': async (context) => {
    const events = await eventsOf(context, TUNNEL_CASES.map(outer));
    deepEqual(
      events.map((event, index) => [TUNNEL_CASES[index]?.title, tunnelOf(event)]),
      TUNNEL_CASES.map(({ title, fields }) => [title, fields]),
    );
    deepEqual(TUNNEL_CASES.map((one) => decodeOuter(outer(one))).slice(0, 1), [TUNNEL_CASES[0]?.fields]);
    ok(
      events[0]?.message.includes('with tcp from 10.60.1.1:40111 to 10.60.2.2:8080 in vxlan 7): '),
      events[0]?.message,
    );
  },

  'packets that are cut at any byte show no byte behind the cut': async (context) => {
    const packets = TUNNEL_CASES.flatMap((one) => {
      const whole = outer(one);
      return Array.from({ length: whole.length - 20 }, (_, cut) => {
        const padded = Buffer.from(whole);
        padded.writeUInt16BE(20 + cut, 2);
        // In the first one, the length in the header stays that of the whole packet. In the second one, the bytes behind the
        // cut are padding.
        return [whole.subarray(0, 20 + cut), padded];
      }).flat();
    });
    await eventsOf(context, poison());
    const events = await eventsOf(context, packets);
    for (const [index, event] of events.entries()) {
      const packet = packets[index] ?? Buffer.alloc(0);
      equal(JSON.stringify(event).includes(STALE), false, JSON.stringify(event));
      deepEqual(tunnelOf(event), decodeOuter(packet), `${packet.toString('hex')}`);
    }
  },

  'hostile packets never show other bytes than their own': async (context) => {
    const random = randomOf(20_260);
    const bases = TUNNEL_CASES.filter(({ fields }) => !String(fields['innerSrc']).startsWith('['));
    const packets = Array.from({ length: 2_000 }, () => {
      const whole = outer(bases[random(bases.length)] ?? (bases[0] as TunnelCase));
      for (let flips = 1 + random(3); flips > 0; flips--) whole[20 + random(whole.length - 20)] = random(256);
      if (random(4) === 0) whole.writeUInt16BE(random(2) * random(whole.length + 40), 2);
      return whole.subarray(0, random(3) === 0 ? 20 + random(whole.length - 20) : whole.length);
    });
    await eventsOf(context, poison());
    const events = await eventsOf(context, packets);
    for (const [index, event] of events.entries()) {
      const packet = packets[index] ?? Buffer.alloc(0);
      equal(JSON.stringify(event).includes(STALE), false, JSON.stringify(event));
      deepEqual(tunnelOf(event), decodeOuter(packet), packet.toString('hex'));
    }
  },

  ...Object.fromEntries(
    DEVICES.map((device) => [
      `packets of a real device name the Pods at its ends: ${device.title}`,
      deviceCheck(device),
    ]),
  ),
});
