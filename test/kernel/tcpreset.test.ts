import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { BY_TIMER, eventually } from '../support/oracle.ts';
import { RESET_CASES, ResetCounter } from '../support/reset_cases.ts';
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

describe.each(FAMILIES)('over %s', (family) => {
  for (const [index, one] of RESET_CASES.entries()) {
    it(one.name, one.byTimer === true ? BY_TIMER : {}, async () => {
      const port = 7_100 + index;
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
  }
});

describe('derives the reason from the socket where the kernel gives none', () => {
  let counter: ResetCounter;

  beforeAll(async () => {
    counter = await ResetCounter.open(['tcp_reset_sent']);
  });

  afterAll(() => counter?.[Symbol.dispose]());

  for (const [index, one] of RESET_CASES.entries()) {
    // What netfilter builds is not TCP's.
    if (one.sender === undefined) continue;
    it(one.name, one.byTimer === true ? BY_TIMER : {}, async () => {
      const counted = await counter.during(pair, () =>
        playScene(pair, 'ipv4', `PORT = ${7_200 + index}\n${one.program}`),
      );
      expect(counted).toEqual(one.derived);
    });
  }
});

it('counts a connection that an administrator kills, by the process that does', async () => {
  agent.events.length = 0;
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const { grown } = await growth(agent, pods, RESETS, 'reason', () =>
    playScene(
      pair,
      'ipv4',
      `
server, client, peer = connected(7199)
subprocess.run(['ip', 'netns', 'exec', A, 'ss', '-K', 'dport', '=', '7199'], stdout=subprocess.DEVNULL, check=True)
time.sleep(0.05)
`,
    ),
  );
  expect(grown).toEqual({ 'a sent TCP_STATE': 1, 'b received by_peer': 1 });
  const sent = await eventually(() => {
    const found = eventsOf(agent, 7199).find(({ direction }) => direction === 'sent');
    expect(found).toBeDefined();
    return found;
  });
  expect(sent).toMatchObject({ pod: pods.a, process: 'ss', dst: endpoint(pair.addressB.ipv4, 7199) });
});
