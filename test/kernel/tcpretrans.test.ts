import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPair, type TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { BY_TIMER, eventually, readBoth } from '../support/oracle.ts';
import {
  BLACK_HOLE_PROGRAM,
  PATH_MTU_PROGRAM,
  RETRANSMIT_CASES,
  RETRANSMIT_PROBES,
  severityOf,
  tcpCounters,
} from '../support/retransmit_cases.ts';
import { RoutedPair } from '../support/routed_pair.ts';
import { endpoint, eventsOf, FAMILIES, growth, playScene } from '../support/scene.ts';

const RETRANSMITS = 'netsonde_tcp_retransmits_total';
const CONFIG = only(RETRANSMIT_PROBES, { detail: 'full' });

/** Drops ICMP "fragmentation needed" messages, as a misconfigured firewall does. */
const NO_ICMP =
  'add table inet hole; add chain inet hole c { type filter hook output priority 0; }; add rule inet hole c icmp type destination-unreachable drop; add rule inet hole c icmpv6 type packet-too-big drop';

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(CONFIG);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

/**
 * Returns the increases on the page and in the kernel while `happen` runs. Both are read at the same moment, because
 * TCP timers may still expire after a scene.
 */
async function counted(netns: TestNetns, pods: Readonly<Record<string, string>>, happen: () => Promise<unknown>) {
  const readings: Record<string, number>[] = [];
  const read = async () => {
    const { oracle, ours } = await readBoth(
      () => tcpCounters(netns),
      () => agent.page(),
    );
    readings.push(oracle);
    return ours;
  };
  const { grown } = await growth(agent, pods, RETRANSMITS, 'kind', happen, read);
  const [before, after] = readings;
  return { grown, more: (name: string) => (after?.[name] ?? 0) - (before?.[name] ?? 0) };
}

describe.each(FAMILIES)('over %s', (family) => {
  it.each(RETRANSMIT_CASES.map((one, index) => [one.name, one, 7_300 + index] as const))(
    '%s',
    BY_TIMER,
    async (_, one, port) => {
      agent.events.length = 0;
      const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
      const { grown, more } = await counted(pair[one.sender].netns, pods, () =>
        playScene(pair, family, `PORT = ${port}\n${one.program}`),
      );
      expect(grown).toEqual(
        Object.fromEntries(Object.entries(one.kinds).map(([kind, name]) => [`${one.sender} ${kind}`, more(name)])),
      );
      const total = Object.values(grown).reduce((sum, count) => sum + count, 0);
      expect(total).toBe(more('TcpRetransSegs'));
      expect(total).toBeGreaterThan(0);
      const events = await eventually(() => {
        expect(eventsOf(agent, port)).toHaveLength(total);
        return eventsOf(agent, port);
      });
      const server = endpoint(pair.addressB[family], port);
      for (const [index, event] of events.entries()) {
        expect(event).toMatchObject({
          probe: 'tcpretrans',
          type: 'tcp_retransmit',
          severity: severityOf(one, event),
          protocol: 'tcp',
          netns: String(pair[one.sender].netns.cookie),
          pod: pods[one.sender],
          state: one.state,
          retransmits: index + 1,
          [one.sender === 'a' ? 'dst' : 'src']: server,
        });
        expect(Object.keys(one.kinds)).toContain(event['kind']);
        const same = events.find(({ bytes }) => bytes === event['bytes']);
        expect(event['sequence']).toBe(same?.['sequence']);
        expect(event['sequence']).toBeGreaterThan(0);
        expect(event['needless']).toBe(0);
        if (one.state === 'ESTABLISHED') {
          expect(event['cwnd']).toBeGreaterThan(0);
          expect(event['srttSeconds']).toBeGreaterThan(0);
          // This detects a wrong unit, which would make the value a thousand times larger.
          expect(event['srttSeconds']).toBeLessThan(10);
        }
      }
    },
  );
});

describe.each(FAMILIES)('on a path with a smaller MTU, over %s', (family) => {
  let routed: RoutedPair;

  beforeAll(() => {
    routed = new RoutedPair();
  });

  afterAll(() => routed?.[Symbol.dispose]());

  async function play(port: number, program: string) {
    agent.events.length = 0;
    return counted(routed.a.netns, { a: routed.a.netns.name }, () =>
      playScene(routed, family, `PORT = ${port}\n${program}`),
    );
  }

  it('calls it a timeout while no router reports it', BY_TIMER, async () => {
    routed.router.exec(`nft ${NO_ICMP}`);
    const { grown, more } = await play(7_390, BLACK_HOLE_PROGRAM);
    routed.router.exec('nft delete table inet hole');
    expect(Object.keys(grown)).not.toContain('a mtu');
    expect(grown['a rto']).toBe(more('TcpExtTCPTimeouts'));
    expect(grown['a rto']).toBeGreaterThan(0);
    const events = await eventually(() => {
      const found = eventsOf(agent, 7_390).filter(({ type, kind }) => type === 'tcp_retransmit' && kind === 'rto');
      expect(found).toHaveLength(grown['a rto'] ?? 0);
      return found;
    });
    expect(new Set(events.map(({ severity }) => severity))).toEqual(new Set(['warning']));
  });

  it('distinguishes it from a timeout, and emits no warning', async () => {
    const { grown, more } = await play(7_391, PATH_MTU_PROGRAM);
    expect(Object.keys(grown)).toEqual(['a mtu']);
    expect(more('TcpRetransSegs')).toBeGreaterThan(0);
    expect(more('TcpExtTCPTimeouts')).toBe(0);
    const events = await eventually(() => {
      const found = eventsOf(agent, 7_391);
      expect(found).toHaveLength(grown['a mtu'] ?? 0);
      return found;
    });
    expect(new Set(events.map(({ severity, kind }) => `${severity} ${kind}`))).toEqual(new Set(['info mtu']));
  });
});

it('emits no event for a loss probe by default, and counts it', BY_TIMER, async () => {
  await agent.kernel.configure(probesOf(only({ tcpretrans: true }, { detail: 'full' })));
  agent.events.length = 0;
  // The scene has short connections to a server that closes late, like connections to a database without a pool.
  const { grown } = await growth(agent, { a: pair.a.netns.name }, RETRANSMITS, 'kind', () =>
    playScene(
      pair,
      'ipv4',
      `
server = listen(B, 7395)
for i in range(20):
    client = sock(A); client.connect((ADDRESS[B], 7395)); peer, _ = server.accept()
    for j in range(4):
        client.send(b'x'); peer.recv(1); peer.send(b'y'); client.recv(1)
    client.send(b'x'); client.close(); time.sleep(0.02)
    assert peer.recv(9) == b'x'; peer.close()
`,
    ),
  );
  expect(Object.keys(grown)).toEqual(['a tlp']);
  // Events of the loss probe use the same ring, in order. An event of the loss probe would therefore have arrived
  // before this later event.
  const lost = RETRANSMIT_CASES.find(({ name }) => name.startsWith('a SYN that'));
  await playScene(pair, 'ipv4', `PORT = 7396\n${lost?.program}`);
  await eventually(() => expect(eventsOf(agent, 7_396)).not.toEqual([]));
  expect(eventsOf(agent, 7_395)).toEqual([]);
  await agent.kernel.configure(probesOf(CONFIG));
});

it('continues its counts when it is switched off and on, twice', async () => {
  const pods = [pair.a, pair.b].map(({ netns }) => netns.name);
  const totals = async () => {
    const { samples } = await agent.page();
    return samples.filter(({ name, labels }) => name === RETRANSMITS && pods.includes(labels['pod'] ?? ''));
  };
  const before = await totals();
  expect(before.map(({ labels }) => labels['pod'])).toContain(pair.a.netns.name);
  for (let turn = 0; turn < 2; turn++) {
    await agent.kernel.configure(probesOf(only({})));
    expect(await totals()).toEqual([]);
    await agent.kernel.configure(probesOf(CONFIG));
    expect(await totals()).toEqual(before);
  }
});
