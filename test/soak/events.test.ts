import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { endAndCount, readLedger } from '../support/agent_ledger.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { checkEventRate, dropUdp } from '../support/event_rate.ts';
import { HostPair } from '../support/hosts.ts';
import { type Fault, LokiServer } from '../support/loki_server.ts';
import { eventually } from '../support/oracle.ts';

const MINUTE_MS = 60_000;
const PER_SECOND = 500;

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_000;
}

it('200,000 events at 5,000 a second arrive once each', { timeout: 3 * MINUTE_MS }, async () => {
  expect(await checkEventRate(200_000)).toBeGreaterThan(3_500);
});

it.each<[string, (server: LokiServer) => Promise<void>, Fault | undefined]>([
  ['down', (server) => server.down(), undefined],
  ['slow: five seconds an answer', async () => undefined, { delayMs: 5_000 }],
  ['silent', async () => undefined, { hang: true }],
])(
  'a minute of a server that is %s: the ledger balances, memory stays within its bounds',
  {
    timeout: 3 * MINUTE_MS,
  },
  async (_, begin, fault) => {
    await using pair = await HostPair.create();
    dropUdp(pair);
    await using loki = await LokiServer.start();
    await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
    const config = join(folder.path, 'config.yaml');
    const document = {
      probes: { packetloss: { limit: 2 * PER_SECOND }, tcpretrans: false, tcpreset: false },
      events: { limit: 2 * PER_SECOND, fold: '0s' },
      sinks: { loki: { url: loki.url, queue: 10_000, batch: { events: 1_000 } } },
    };
    writeFileSync(config, JSON.stringify(document));
    await using agent = await AgentProcess.serve(['--config', config]);
    const send = () => pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: PER_SECOND / 10, bytes: 9 });
    for (let round = 0; round < 50; round++) {
      await send();
      await wait(100);
    }
    const before = residentMb(agent.pid);
    await begin(loki);
    loki.fault = () => fault;
    let most = 0;
    for (const endMs = performance.now() + MINUTE_MS; performance.now() < endMs; await wait(100)) {
      await send();
      const { sinks } = await agent.json<{ sinks: { pending: number }[] }>('/api/v1/sinks');
      expect(sinks[0]?.pending).toBeLessThanOrEqual(10_000);
      most = Math.max(most, residentMb(agent.pid));
    }
    loki.fault = () => undefined;
    await loki.down();
    await loki.up();
    const last = await send();
    await eventually(() => expect(loki.records.some(({ src }) => src?.endsWith(`:${last}`))).toBe(true), MINUTE_MS);
    await eventually(async () => {
      const ledger = await readLedger(agent, 'packetloss', 'loki');
      expect(ledger.missing).toBe(0);
      expect(ledger.produced).toBeGreaterThan(20_000);
    });
    const { delivered, dropped } = await endAndCount(agent, 'loki');
    expect(dropped).toBeGreaterThan(0);
    // A request is sent again if its connection was closed before the response. Its events must not be stored twice.
    expect(loki.entries.length).toBe(delivered);
    expect(most - before).toBeLessThan(60);
  },
);
