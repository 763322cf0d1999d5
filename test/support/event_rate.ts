import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { endAndCount, readLedger } from './agent_ledger.ts';
import { AgentProcess } from './agent_process.ts';
import { run } from './command.ts';
import { HostPair } from './hosts.ts';
import { only } from './kernel.ts';
import { LokiServer } from './loki_server.ts';
import { eventually } from './oracle.ts';

const PER_SECOND = 5_000;
const TICK_MS = 20;
/**
 * Maximum number of packets per tick. It is high enough for the test to catch up after a stall, and low enough not to
 * exceed the probe's limit.
 */
const AT_ONCE_MAX = (1.5 * PER_SECOND * TICK_MS) / 1_000;

/** Drops packets to UDP port 7001 of the second host. */
export function dropUdp({ b }: HostPair): void {
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
  ]) {
    run('ip', 'netns', 'exec', b.netns.name, 'nft', rule);
  }
}

/**
 * Drops 5,000 packets per second, and checks that the event of each packet arrives exactly once at a server that
 * implements Loki's protocol.
 * @returns packets sent per second, which may be fewer on a busy machine
 */
export async function checkEventRate(count: number): Promise<number> {
  await using pair = await HostPair.create();
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
  dropUdp(pair);
  const config = join(folder.path, 'config.yaml');
  // The limit is twice the send rate, so event storms in other namespaces on this machine are cut off.
  const limit = 2 * PER_SECOND;
  const sinks = { loki: { url: loki.url, queue: 200_000, queueBytes: '256MiB' } };
  writeFileSync(config, only({ packetloss: { limit } }, { events: { limit, fold: '0s' }, sinks }));
  await using agent = await AgentProcess.serve(['--config', config]);
  const startMs = performance.now();
  for (let sent = 0; sent < count; ) {
    const elapsed = (performance.now() - startMs) / 1_000;
    const due = Math.min(count, sent + AT_ONCE_MAX, Math.ceil(elapsed * PER_SECOND));
    if (due > sent) {
      await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: due - sent, bytes: 9 });
      sent = due;
    }
    await wait(TICK_MS);
  }
  const seconds = (performance.now() - startMs) / 1_000;
  // Some events may be pending at any time, because packets may be dropped in other namespaces on this machine.
  const ours = () => loki.entries.filter(({ metadata }) => metadata['pod'] === pair.b.netns.name);
  await eventually(async () => {
    const ledger = await readLedger(agent, 'packetloss', 'loki');
    expect(ledger, JSON.stringify(ledger)).toMatchObject({ missing: 0, folded: 0, lost: 0, limited: 0 });
    expect(ours()).toHaveLength(count);
  }, 60_000);
  expect(await endAndCount(agent, 'loki')).toEqual({ delivered: loki.entries.length, dropped: 0 });
  expect(new Set(ours().map(({ time, line }) => `${time} ${line}`)).size).toBe(count);
  expect(loki).toMatchObject({ duplicates: 0, unordered: 0 });
  for (const { time, line } of ours()) {
    const [, second = '', nanoseconds] = /"time":"([^.]+)\.(\d{9})Z"/.exec(line) ?? [];
    expect(time).toBe(`${Date.parse(`${second}Z`) / 1_000}${nanoseconds}`);
  }
  return count / seconds;
}
