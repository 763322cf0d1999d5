import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostPair } from '../support/hosts.ts';
import { probesOf, TestKernel } from '../support/kernel.ts';
import { BY_TIMER, eventually } from '../support/oracle.ts';
import { RETRANSMIT_CASES, tcpCounters } from '../support/retransmit_cases.ts';
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

describe.each(FAMILIES)('over %s', (family) => {
  it.each(RETRANSMIT_CASES.map((one, index) => [one.name, one, 7_300 + index] as const))(
    '%s',
    BY_TIMER,
    async (_, one, port) => {
      agent.events.length = 0;
      const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
      const before = tcpCounters(pair[one.sender].netns);
      const { grown } = await growth(agent, pods, RETRANSMITS, 'kind', () =>
        playScene(pair, family, `PORT = ${port}\n${one.program}`),
      );
      const after = tcpCounters(pair[one.sender].netns);
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
          // In another unit it would be a thousand times as much.
          expect(event['srttSeconds']).toBeLessThan(10);
        }
      }
    },
  );
});

it('goes on counting from where it was when it is switched off and on, twice', async () => {
  const pods = [pair.a, pair.b].map(({ netns }) => netns.name);
  const totals = async () => {
    const { samples } = await agent.page();
    return samples.filter(({ name, labels }) => name === RETRANSMITS && pods.includes(labels['pod'] ?? ''));
  };
  const before = await totals();
  expect(before.map(({ labels }) => labels['pod'])).toContain(pair.a.netns.name);
  for (let turn = 0; turn < 2; turn++) {
    await agent.kernel.configure(probesOf('{ probes: { packetloss: false, tcpreset: false, tcpretrans: false } }'));
    expect(await totals()).toEqual([]);
    await agent.kernel.configure(probesOf(CONFIG));
    expect(await totals()).toEqual(before);
  }
});
