import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '../support/command.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';

/** Each way; a soak test would take a million. */
const PACKETS = Number(process.env['STORM_PACKETS'] ?? 100_000);

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add chain inet t out { type filter hook output priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
    'add rule inet t out udp dport 7002 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  agent = await TestKernel.open('{ detail: full, probes: { tcpreset: false, tcpretrans: false } }');
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

function ruleCount(): number {
  const text = run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', 'list', 'table', 'inet', 't');
  return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function state() {
  const page = await agent.page();
  const ledger = (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'packetloss');
  return {
    counted:
      sampleValue(page, 'netsonde_packet_drops_total', { pod: pair.b.netns.name, reason: 'NETFILTER_DROP' }) ?? 0,
    missed: sampleValue(page, 'netsonde_probe_missed_total', { probe: 'packetloss' }) ?? 0,
    produced: ledger?.produced ?? 0,
    refused: (ledger?.limited ?? 0) + (ledger?.lost ?? 0),
  };
}

it(`${PACKETS} drops each way on one CPU are counted to the packet, and the ledger balances`, async () => {
  const before = await state();
  agent.events.length = 0;
  await playScene(
    pair,
    'ipv4',
    `
os.sched_setaffinity(0, {0})
received = sock(A, socket.SOCK_DGRAM); received.connect((ADDRESS[B], 7001))
sent = sock(B, socket.SOCK_DGRAM); sent.connect((ADDRESS[A], 7002))
for i in range(${PACKETS}):
    received.send(b'x')
    try: sent.send(b'x')
    except PermissionError: pass
`,
  );
  expect(ruleCount()).toBe(2 * PACKETS);
  const after = await state();
  const [counted, missed] = [after.counted - before.counted, after.missed - before.missed];
  // What is missed may be another namespace's.
  expect(counted).toBeLessThanOrEqual(2 * PACKETS);
  expect(counted + missed).toBeGreaterThanOrEqual(2 * PACKETS);
  if (missed === 0) expect(counted).toBe(2 * PACKETS);
  expect(after.produced - before.produced).toBeGreaterThanOrEqual(counted);
  expect(after.refused - before.refused).toBeGreaterThan(PACKETS);
  const ledger = await eventually(async () => {
    const now = await state();
    expect(agent.events).toHaveLength(now.produced - before.produced - (now.refused - before.refused));
    return now;
  });
  expect(ledger.produced).toBeGreaterThanOrEqual(after.produced);
}, 120_000);
