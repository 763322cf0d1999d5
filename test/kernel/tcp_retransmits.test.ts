import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { endpoint, eventsOf, FAMILIES, growth, playScene } from '../support/scene.ts';

const RETRANSMITS = 'netsonde_tcp_retransmits_total';
const CONFIG = '{ detail: full, probes: { packetloss: false, tcpreset: false } }';

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

/** Counters of TCP in the namespace of the sender. */
function nstat(which: 'a' | 'b'): Record<string, number> {
  const { kernel } = JSON.parse(pair[which].netns.exec('nstat -asj')) as { kernel: Record<string, number> };
  return kernel;
}

interface Case {
  readonly name: string;
  readonly program: string;
  readonly sender: 'a' | 'b';
  readonly state: string;
  /** The counter of the kernel that must have grown as much, for each kind that must be there. */
  readonly kinds: Readonly<Record<string, string>>;
}

const CASES: readonly Case[] = [
  {
    name: 'data that does not get through: first a probe, then timeouts',
    program: `
server, client, peer = connected(PORT)
client.send(b'x' * 99); peer.recv(99); time.sleep(0.1)
drop(B, 'tcp dport %d drop' % PORT)
client.send(b'y' * 99); time.sleep(1.1)
undrop(B)
peer.recv(99)
`,
    sender: 'a',
    state: 'ESTABLISHED',
    kinds: { tlp: 'TcpExtTCPLossProbes', rto: 'TcpExtTCPTimeouts' },
  },
  {
    name: 'one lost segment of many',
    program: `
server, client, peer = connected(PORT)
client.setsockopt(6, socket.TCP_NODELAY, 1)
client.send(b'x'); peer.recv(1)
nft(B, 'add table inet scene; add chain inet scene c { type filter hook input priority 0; }; add rule inet scene c tcp dport %d limit rate over 1/hour burst 1 packets accept; add rule inet scene c tcp dport %d drop' % (PORT, PORT))
for i in range(12): client.send(b'y' * 50)
time.sleep(0.3)
undrop(B)
assert len(peer.recv(600, socket.MSG_WAITALL)) == 600
`,
    sender: 'a',
    state: 'ESTABLISHED',
    kinds: { fast: 'TcpExtTCPFastRetrans' },
  },
  {
    name: 'a SYN that does not get through',
    program: `
drop(B, 'tcp dport %d drop' % PORT)
client = sock(A); client.setblocking(False)
client.connect_ex((ADDRESS[B], PORT)); time.sleep(1.3)
client.close(); undrop(B)
`,
    sender: 'a',
    state: 'SYN_SENT',
    kinds: { syn: 'TcpExtTCPSynRetrans' },
  },
  {
    name: 'a SYN-ACK that nobody confirms',
    program: `
server = listen(B, PORT)
drop(B, 'tcp dport %d tcp flags & (syn|ack) == ack drop' % PORT)
client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(1.3)
undrop(B); server.close()
`,
    sender: 'b',
    state: 'NEW_SYN_RECV',
    kinds: { synack: 'TcpExtTCPSynRetrans' },
  },
];

describe.each(FAMILIES)('over %s', (family) => {
  it.each(CASES.map((one, index) => [one.name, one, 7_300 + index] as const))('%s', async (_, one, port) => {
    agent.events.length = 0;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    const before = nstat(one.sender);
    const { grown } = await growth(agent, pods, RETRANSMITS, 'kind', () =>
      playScene(pair, family, `PORT = ${port}\n${one.program}`),
    );
    const after = nstat(one.sender);
    const more = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
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
        severity: 'warning',
        protocol: 'tcp',
        netns: String(pair[one.sender].netns.cookie),
        pod: pods[one.sender],
        state: one.state,
        retransmits: index + 1,
        [one.sender === 'a' ? 'dst' : 'src']: server,
      });
      expect(Object.keys(one.kinds)).toContain(event['kind']);
      expect(event['sequence']).toBe(events[0]?.['sequence']);
      expect(event['sequence']).toBeGreaterThan(0);
      if (one.state === 'ESTABLISHED') {
        expect(event['cwnd']).toBeGreaterThan(0);
        expect(event['srttSeconds']).toBeGreaterThan(0);
        expect(event['srttSeconds']).toBeLessThan(0.5);
      }
    }
  });
});

it('goes on counting from where it was when it is switched off and on, twice', async () => {
  const totals = async () => JSON.stringify((await agent.page()).samples.filter(({ name }) => name === RETRANSMITS));
  const before = await totals();
  expect(before).toContain(pair.a.netns.name);
  for (let turn = 0; turn < 2; turn++) {
    await agent.kernel.configure(probesOf('{ probes: { packetloss: false, tcpreset: false, tcpretrans: false } }'));
    expect(await totals()).toBe('[]');
    await agent.kernel.configure(probesOf(CONFIG));
    expect(await totals()).toBe(before);
  }
});
