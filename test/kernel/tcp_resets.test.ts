import { join } from 'node:path';
import { BpfObject } from 'bpf-napi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FILE } from '../../src/bpf/generated/tcpreset.ts';
import { DEFAULT_PATHS } from '../../src/paths.ts';
import { Counts } from '../../src/probes/counts.ts';
import { ResetReasons } from '../../src/probes/reset_reasons.ts';
import { processConstants } from '../../src/probes/scene.ts';
import { BpfSource } from '../../src/sources/bpf/source.ts';
import { HostPair } from '../support/hosts.ts';
import { OBJECTS, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { endpoint, eventsOf, FAMILIES, growth, playScene } from '../support/scene.ts';

const RESETS = 'netsonde_tcp_resets_total';

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open('{ detail: full, probes: { packetloss: false } }');
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

interface Case {
  readonly name: string;
  readonly program: string;
  /** What is counted where, and nothing else. */
  readonly counts: Readonly<Record<string, number>>;
  /** The reason of ours on a kernel that gives none to the first of them. */
  readonly derived?: string;
  /** The event of who sends the reset, and where it knows the process. */
  readonly sender?: 'a' | 'b';
  readonly byProcess?: boolean;
  readonly state?: string;
  /** Of the event of who receives it. */
  readonly receivedIn?: string;
}

const LINGER = "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))";

/** Each on a port of its own: PORT. */
const CASES: readonly Case[] = [
  {
    name: 'a port that nobody listens on',
    program: 'assert sock(A).connect_ex((ADDRESS[B], PORT)) == 111',
    counts: { 'b sent NO_SOCKET': 1, 'a received refused': 1 },
    derived: 'no_listener',
    sender: 'b',
    receivedIn: 'SYN_SENT',
  },
  {
    name: 'SO_LINGER with no time',
    program: `server, client, peer = connected(PORT); ${LINGER}; client.close(); time.sleep(0.05)`,
    counts: { 'a sent TCP_STATE': 1, 'b received by_peer': 1 },
    derived: 'linger',
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'a close with unread data',
    program:
      "server, client, peer = connected(PORT); peer.send(b'x' * 99); time.sleep(0.05); client.close(); time.sleep(0.05)",
    counts: { 'a sent TCP_ABORT_ON_CLOSE': 1, 'b received by_peer': 1 },
    derived: 'unread_data',
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'data after the close',
    program:
      "server, client, peer = connected(PORT); client.close(); time.sleep(0.05); peer.send(b'x'); time.sleep(0.05)",
    counts: { 'a sent TCP_TIMEWAIT_SOCKET': 1, 'b received broken_pipe': 1 },
    derived: 'time_wait',
    sender: 'a',
    state: 'TIME_WAIT',
    receivedIn: 'CLOSE_WAIT',
  },
  {
    name: 'an ACK to a listening port',
    program: 'server = listen(B, PORT); raw(6, segment(PORT, 0x10)); time.sleep(0.05)',
    counts: { 'b sent TCP_FLAGS': 1 },
    derived: 'invalid_segment',
    sender: 'b',
    state: 'LISTEN',
  },
  {
    name: 'a listening socket that is closed over a waiting connection',
    program:
      'server = listen(B, PORT); client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(0.05); server.close(); time.sleep(0.05)',
    counts: { 'b sent TCP_STATE': 1, 'a received by_peer': 1 },
    derived: 'not_accepted',
    sender: 'b',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'a reset that netfilter sends',
    program:
      "drop(B, 'tcp dport %d reject with tcp reset' % PORT); assert sock(A).connect_ex((ADDRESS[B], PORT)) == 111; undrop(B)",
    counts: { 'a received refused': 1 },
    receivedIn: 'SYN_SENT',
  },
  {
    name: 'keepalives without an answer',
    program: `
server, client, peer = connected(PORT)
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT): client.setsockopt(6, option, 1)
drop(B, 'tcp dport %d drop' % PORT)
time.sleep(2.5)
undrop(B)
${LINGER}
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
`,
    counts: { 'a sent TCP_KEEPALIVE_TIMEOUT': 1, 'b sent TCP_STATE': 1 },
    derived: 'keepalive',
    sender: 'a',
    state: 'ESTABLISHED',
  },
];

describe.each(FAMILIES)('over %s', (family) => {
  it.each(CASES.map((one, index) => [one.name, one, 7_100 + index] as const))('%s', async (_, one, port) => {
    agent.events.length = 0;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    const { grown, result } = await growth(agent, pods, RESETS, 'reason', () =>
      playScene(pair, family, `PORT = ${port}\n${one.program}`),
    );
    expect(grown).toEqual(one.counts);
    const total = Object.values(one.counts).reduce((sum, count) => sum + count, 0);
    const events = await eventually(() => {
      expect(eventsOf(agent, port)).toHaveLength(total);
      return eventsOf(agent, port);
    });
    const [b, addressA, addressB] = [
      endpoint(pair.addressB[family], port),
      pair.addressA[family],
      pair.addressB[family],
    ];
    expect(addressA).not.toBe(addressB);
    if (one.sender !== undefined) {
      const sent = events.find(({ pod, direction }) => direction === 'sent' && pod === pods[one.sender ?? 'a']);
      expect(sent).toMatchObject({
        probe: 'tcpreset',
        type: 'tcp_reset',
        protocol: 'tcp',
        severity: 'warning',
        namespace: '',
      });
      expect(sent?.netns).toBe(String(pair[one.sender].netns.cookie));
      expect(one.sender === 'b' ? sent?.src : sent?.dst).toBe(b);
      expect(one.sender === 'b' ? sent?.dst : sent?.src).toContain(addressA);
      expect(one.sender === 'b' ? sent?.dst : sent?.src).not.toMatch(/:0$/);
      expect(sent?.['state']).toBe(one.state);
      expect(sent?.['pid']).toBe(one.byProcess === true ? result.pid : undefined);
      expect(sent?.['process']).toBe(one.byProcess === true ? 'python3' : undefined);
    }
    const received = events.find(({ direction }) => direction === 'received');
    expect(received?.['state']).toBe(one.receivedIn);
    if (received !== undefined) {
      // What comes while the process uses the socket waits until it is through, and is then taken in by the process.
      expect([undefined, result.pid]).toContain(received['pid']);
      const sender = received.pod === pods.a ? received.src : received.dst;
      expect(sender).toBe(b);
    }
  });
});

it('derives the reason from the socket where the kernel gives none', async () => {
  using object = await BpfObject.open(join(OBJECTS, FILE));
  const btf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys).btf();
  object.choosePrograms(['tcp_reset_sent']);
  for (const [name, value] of Object.entries(processConstants(btf))) object.setConstant(name, value);
  await object.load();
  await object.attach('tcp_reset_sent');
  const reasons = new ResetReasons(btf);
  const counts = new Counts(object, { value: undefined });
  const ours = new Set([pair.a.netns.cookie, pair.b.netns.cookie]);
  const read = () =>
    new Map(
      counts
        .rows()
        .filter(({ netns }) => ours.has(BigInt(netns)))
        .map(({ netns, reason, count }) => [`${netns} ${reasons.name(reason)}`, Number(count)]),
    );
  for (const [index, { name, program, derived, sender }] of CASES.entries()) {
    if (derived === undefined || sender === undefined) continue;
    const before = read();
    await playScene(pair, 'ipv4', `PORT = ${7_200 + index}\n${program}`);
    const key = `${pair[sender].netns.cookie} ${derived}`;
    expect((read().get(key) ?? 0) - (before.get(key) ?? 0), name).toBe(1);
  }
});
