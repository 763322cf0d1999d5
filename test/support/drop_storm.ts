import { expect } from 'vitest';
import { run } from './command.ts';
import { sampleValue } from './exposition.ts';
import { HostPair } from './hosts.ts';
import { only, TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';
import { playScene } from './scene.ts';

function ruleCount({ b }: HostPair): number {
  const text = run('ip', 'netns', 'exec', b.netns.name, 'nft', 'list', 'table', 'inet', 't');
  return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function state(agent: TestKernel, pod: string) {
  const page = await agent.page();
  const ledger = (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'packetloss');
  return {
    counted: sampleValue(page, 'netsonde_packet_drops_total', { pod, reason: 'NETFILTER_DROP' }) ?? 0,
    missed: sampleValue(page, 'netsonde_probe_missed_total', { probe: 'packetloss' }) ?? 0,
    produced: ledger?.produced ?? 0,
    refused: (ledger?.limited ?? 0) + (ledger?.lost ?? 0),
  };
}

/**
 * Drops `packets` outgoing packets and the same number of incoming packets as fast as one CPU can. Checks that each
 * packet is either counted or reported as missed, and that the event ledger balances.
 */
export async function checkDropStorm(packets: number): Promise<void> {
  await using pair = await HostPair.create();
  const pod = pair.b.netns.name;
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add chain inet t out { type filter hook output priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
    'add rule inet t out udp dport 7002 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pod, 'nft', rule);
  }
  // The Pod filter limits the probe to the pair. Otherwise, other tests on this machine would add to the ledger.
  const probes = { packetloss: { pods: { names: [pair.a.netns.name, pod] } } };
  await using agent = await TestKernel.open(only(probes, { detail: 'full' }));
  const told = () => agent.events.filter(({ probe }) => probe === 'packetloss');
  const before = await state(agent, pod);
  agent.events.length = 0;
  await playScene(
    pair,
    'ipv4',
    `
os.sched_setaffinity(0, {0})
received = sock(A, socket.SOCK_DGRAM); received.connect((ADDRESS[B], 7001))
sent = sock(B, socket.SOCK_DGRAM); sent.connect((ADDRESS[A], 7002))
for i in range(${packets}):
    received.send(b'x')
    try: sent.send(b'x')
    except PermissionError: pass
`,
  );
  expect(ruleCount(pair)).toBe(2 * packets);
  const after = await state(agent, pod);
  const [counted, missed] = [after.counted - before.counted, after.missed - before.missed];
  // Missed packets may belong to other namespaces.
  expect(counted).toBeLessThanOrEqual(2 * packets);
  expect(counted + missed).toBeGreaterThanOrEqual(2 * packets);
  if (missed === 0) expect(counted).toBe(2 * packets);
  expect(after.produced - before.produced).toBeGreaterThanOrEqual(counted);
  expect(after.refused - before.refused).toBeGreaterThan(packets);
  const ledger = await eventually(async () => {
    const now = await state(agent, pod);
    expect(told()).toHaveLength(now.produced - before.produced - (now.refused - before.refused));
    return now;
  });
  expect(ledger.produced).toBeGreaterThanOrEqual(after.produced);
  process.stdout.write(`${counted} drops counted, ${missed} missed, ${told().length} events\n`);
}
