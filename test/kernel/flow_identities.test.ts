import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { Sender, startSink } from '../support/flow_sender.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const PORT = 7_650;
const SENT = 'netsonde_flow_sent_bytes_total';
const NETWORK = '10.9.1';
const ADDRESSES = Array.from({ length: 40 }, (_, nth) => `${NETWORK}.${nth + 1}`);
const SERVICE: PeerIdentity = { kind: 'service', namespace: 'shop', name: 'web' };

let pair: HostPair;
let server: AsyncDisposable;
let sender: Sender;

beforeAll(async () => {
  pair = await HostPair.create();
  for (const ip of ADDRESSES) pair.b.netns.ip(`addr add ${ip}/32 dev lo`);
  pair.a.netns.ip(`route add ${NETWORK}.0/24 via ${pair.addressB.ipv4}`);
  server = await startSink(pair.b.netns, [PORT]);
  sender = await Sender.start(pair.a.netns, PORT);
});

afterAll(async () => {
  await sender?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

function openAgent(identify: (ip: string) => PeerIdentity, options: object = {}): Promise<TestKernel> {
  return TestKernel.open(only({ flow: { enabled: true, ...options } }), { identify, zone: 'a' });
}

/** Returns the bytes that one namespace sent as a client, by the labels of the peer. */
function sentTo({ named }: Exposition, pod: string): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { labels, value } of named.get(SENT) ?? []) {
    if (labels['pod'] !== pod || labels['role'] === 'server') continue;
    const name = ['peer_kind', 'peer_namespace', 'peer', 'peer_zone', 'port'].flatMap((label) => labels[label] ?? []);
    sums[name.join(' ')] = (sums[name.join(' ')] ?? 0) + Number(value);
  }
  return sums;
}

describe('identities', () => {
  const identify = (ip: string): PeerIdentity => {
    if (ip.startsWith(NETWORK)) return { ...SERVICE, zone: Number(ip.split('.')[3]) % 2 === 0 ? 'a' : 'b' };
    return ip === pair.addressA.ipv4
      ? { kind: 'workload', namespace: 'shop', name: 'caller', pod: 'caller-1' }
      : UNKNOWN_PEER;
  };

  it.each([
    [{}, { [`service shop web ${PORT}`]: 40_000 }, 'caller'],
    [{ zones: true }, { [`service shop web a ${PORT}`]: 20_000, [`service shop web b ${PORT}`]: 20_000 }, 'caller'],
    [{ identity: 'pod' }, { [`service shop web ${PORT}`]: 40_000 }, 'caller-1'],
    [
      { identity: 'address', edges: 100 },
      Object.fromEntries(ADDRESSES.map((ip) => [`${ip} ${PORT}`, 1_000])),
      '10.9.0.1',
    ],
  ])('with %j, forty addresses of a Service are the edges of %j', async (options, edges, caller) => {
    await using agent = await openAgent(identify, options);
    await agent.page();
    for (const ip of ADDRESSES) await sender.send(ip, 1_000);
    await eventually(async () => {
      const page = await agent.page();
      const { [`* *`]: rest = 0, ...shown } = sentTo(page, pair.a.netns.name);
      expect([shown, rest]).toEqual([edges, 0]);
      const received = { pod: pair.b.netns.name, role: 'server', peer: caller };
      expect(sampleValue(page, 'netsonde_flow_received_bytes_total', received)).toBe(40_000);
    });
  });

  it('the API tells the identity of each address, and the map adds the addresses up', async () => {
    await using agent = await openAgent(identify);
    await agent.page();
    for (const ip of ADDRESSES) await sender.send(ip, 1_000);
    const { kernel } = agent;
    await eventually(async () => {
      await agent.page();
      const flows = await kernel.flows.report({ failed: false, limit: 1_000, pod: pair.a.netns.name, role: 'client' });
      if ('unavailable' in flows) throw new Error(flows.unavailable);
      expect(flows.report.edges).toHaveLength(ADDRESSES.length);
      expect(flows.report.edges[0]).toMatchObject({
        workload: pair.a.netns.name,
        peerKind: 'service',
        peerNamespace: 'shop',
        peerName: 'web',
      });
      const map = await kernel.flows.map([]);
      if ('unavailable' in map) throw new Error(map.unavailable);
      const [edge] = map.report.edges.filter(({ target }) => target === 'service/shop/web');
      expect(edge).toMatchObject({ port: PORT, sentBytes: 40_000, connections: 40, seenBy: 'client', crossZone: true });
      expect(edge?.source).toBe(`local//${pair.a.netns.name}`);
    });
  });
});

it('hides connections with an own address, and counts their bytes', async () => {
  const { name } = pair.b.netns;
  const identify = (ip: string): PeerIdentity =>
    ip === pair.addressB.ipv4 ? { kind: 'local', namespace: '', name } : UNKNOWN_PEER;
  for (const loopback of [false, true]) {
    await using agent = await openAgent(identify, { loopback });
    await agent.page();
    await using own = await Sender.start(pair.b.netns, PORT);
    await own.send('127.0.0.1', 700);
    await own.send(pair.addressB.ipv4, 1_000);
    await eventually(async () => {
      const page = await agent.page();
      const shown = sentTo(page, name)[`self  ${PORT}`];
      const hidden = sampleValue(page, 'netsonde_flow_hidden_bytes_total', {});
      if (loopback) expect([shown, hidden]).toEqual([1_700, 0]);
      else expect([shown, (hidden ?? 0) >= 1_700]).toEqual([undefined, true]);
    });
  }
});

/** Names of owners. An address without an owner has the name ''. */
const NAMES = ['', 'cart', 'web', 'db', 'mail', 'jobs'];
const REUSES = 1_000;

it('no byte moves, and none has a wrong name, while addresses go from one owner to another', async () => {
  const ips = ADDRESSES.slice(0, 4);
  const owners = new Map<string, string>();
  const identify = (ip: string): PeerIdentity => {
    const name = owners.get(ip) ?? '';
    return name === '' ? UNKNOWN_PEER : { kind: 'workload', namespace: 'shop', name };
  };
  await using agent = await openAgent(identify, { edges: 100 });
  const pod = pair.a.netns.name;
  await agent.page();
  const truth = new Map<string, number>();
  let total = 0;
  let seen: Record<string, number> = {};
  const read = async () => {
    const page = sentTo(await agent.page(), pod);
    for (const [series, bytes] of Object.entries(seen)) expect(page[series], series).toBeGreaterThanOrEqual(bytes);
    seen = page;
    for (const name of NAMES.filter((each) => each !== '')) {
      expect(page[`workload shop ${name} ${PORT}`] ?? 0, name).toBeLessThanOrEqual(truth.get(name) ?? 0);
    }
  };
  let random = process.pid;
  const upTo = (max: number) => {
    random = (random * 48_271) % 0x7fff_ffff;
    return random % max;
  };
  for (let reuse = 0; reuse < REUSES; reuse++) {
    const ip = ips[upTo(ips.length)] as string;
    const name = NAMES[upTo(NAMES.length)] as string;
    owners.set(ip, name);
    agent.peers.changed(ip);
    const bytes = 1 + upTo(1_000);
    truth.set(name, (truth.get(name) ?? 0) + bytes);
    total += bytes;
    await sender.send(ip, bytes);
    if (upTo(4) === 0) await read();
  }
  await eventually(async () => {
    await read();
    expect(Object.values(seen).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
  });
  const named = NAMES.filter((name) => (seen[`workload shop ${name} ${PORT}`] ?? 0) > 0);
  expect(named.length).toBeGreaterThan(2);
});
