import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { endAndCount, readLedger } from '../support/agent_ledger.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { checkEventRate, dropUdp } from '../support/event_rate.ts';
import { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { LokiServer } from '../support/loki_server.ts';
import { eventually } from '../support/oracle.ts';

let pair: HostPair;

beforeAll(async () => {
  pair = await HostPair.create();
  dropUdp(pair);
});

afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
});

/**
 * A limit above the number of events per second in these tests. It protects the sink from event storms elsewhere on the
 * machine.
 */
const MANY = 10_000;

async function serve(
  folder: string,
  config: object,
  { wrapper = [], probe = { limit: MANY } }: { wrapper?: readonly string[]; probe?: object } = {},
): Promise<AgentProcess> {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, only({ packetloss: probe }, { events: { limit: MANY, fold: '0s' }, ...config }));
  return AgentProcess.serve(['--config', path], wrapper);
}

const send = (count: number) => pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count, bytes: 9 });

it('5,000 drops a second arrive at Loki once each, in order, with the time of the kernel', async () => {
  await checkEventRate(5_000);
});

it('a Pod at full speed keeps no event of another from arriving', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
  await using other = await HostPair.create();
  dropUdp(other);
  const sinks = { loki: { url: loki.url, batch: { age: '100ms' } } };
  await using agent = await serve(folder.path, { events: { fold: '0s' }, sinks }, { probe: {} });
  await eventually(async () => {
    expect(JSON.stringify(await agent.json('/api/v1/entities'))).toContain(other.b.netns.name);
  });
  const quiet: number[] = [];
  const noisy = (async () => {
    for (let round = 0; round < 6; round++) await send(10_000);
  })();
  const isOver = noisy.then(() => true);
  do {
    quiet.push(await other.a.udpSend({ address: other.addressB.ipv4, port: 7001, count: 1, bytes: 9 }));
  } while (!(await Promise.race([isOver, new Promise<boolean>((resolve) => setTimeout(resolve, 200, false))])));
  await eventually(async () => {
    const ledger = await readLedger(agent, 'packetloss', 'loki');
    expect(ledger).toMatchObject({ lost: 0, missing: 0 });
    expect(ledger.limited).toBeGreaterThan(40_000);
    const ours = loki.records.filter(({ pod }) => pod === other.b.netns.name);
    expect(ours.map(({ src }) => src)).toEqual(quiet.map((port) => `${other.addressA.ipv4}:${port}`));
  });
  expect(quiet.length).toBeGreaterThan(2);
});

it('on SIGTERM with a full queue the events that Loki takes in time are delivered, and the rest counted', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
  const config = { sinks: { loki: { url: loki.url, timeout: '60s', batch: { events: 500, age: '100ms' } } } };
  for (const [delayMs, kind] of [
    [0, 'all'],
    [900, 'some'],
    [60_000, 'none'],
  ] as const) {
    const before = loki.entries.length;
    loki.fault = () => ({ delayMs: 60_000 });
    await using agent = await serve(folder.path, config);
    // The datagrams are sent in parts, because a single burst would exceed one Pod's share of the ring.
    for (let sent = 500; sent <= 4_000; sent += 500) {
      await send(500);
      await eventually(async () => {
        const ledger = await readLedger(agent, 'packetloss', 'loki');
        expect(ledger.pending).toBeGreaterThan(sent - 100);
      });
    }
    const { pending } = await readLedger(agent, 'packetloss', 'loki');
    // The restart closes the connection of the hanging request. Later requests have the delay of this case.
    loki.fault = () => ({ delayMs });
    await loki.down();
    await loki.up();
    const { delivered, dropped } = await endAndCount(agent, 'loki');
    expect(delivered + dropped).toBeGreaterThanOrEqual(pending);
    // The last request may be aborted after Loki received it. Its events then count as dropped.
    const arrived = loki.entries.length - before;
    expect(arrived).toBeGreaterThanOrEqual(delivered);
    expect(arrived).toBeLessThanOrEqual(delivered + 500);
    if (kind === 'all') expect(dropped).toBe(0);
    if (kind === 'some') expect(Math.min(delivered, dropped)).toBeGreaterThan(0);
    // The agent must not wait for the first response, which takes a minute.
    if (kind === 'none') expect(delivered).toBe(0);
  }
});

it('with the spool on, SIGKILL while Loki is unreachable loses nothing', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
  const spool = { directory: join(folder.path, 'spool') };
  const config = { sinks: { loki: { url: loki.url, batch: { age: '50ms' }, spool } } };
  await loki.down();
  // The kernel may assign the same source port in both runs.
  const sent = new Map<string, number>();
  for (let run = 0; run < 2; run++) {
    await using agent = await serve(folder.path, config);
    for (let count = 0; count < 50; count++) {
      const src = `${pair.addressA.ipv4}:${await send(4)}`;
      sent.set(src, (sent.get(src) ?? 0) + 4);
    }
    await eventually(async () => {
      const ledger = await readLedger(agent, 'packetloss', 'loki');
      expect(ledger).toMatchObject({ delivered: 0, missing: 0 });
      const spooled = readdirSync(spool.directory).map((name) => readFileSync(join(spool.directory, name), 'utf8'));
      for (const [src, count] of sent) expect(spooled.join('').split(`"${src}"`)).toHaveLength(count + 1);
    });
    agent.signal('SIGKILL');
    await agent.exited;
  }
  await loki.up();
  await using agent = await serve(folder.path, config);
  const arrived = () => loki.records.filter(({ src }) => sent.has(src ?? ''));
  await eventually(async () => {
    const ledger = await readLedger(agent, 'packetloss', 'loki');
    expect(ledger).toMatchObject({ missing: 0, lost: 0 });
    expect(ledger.recovered).toBeGreaterThanOrEqual(400);
    expect(arrived()).toHaveLength(400);
  });
  expect(await endAndCount(agent, 'loki')).toEqual({ delivered: loki.entries.length, dropped: 0 });
  expect(loki).toMatchObject({ duplicates: 0, unordered: 0 });
});

it('Loki behind a name that is gone and comes back as another address', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'loki-'));
  const hosts = join(folder.path, 'hosts');
  writeFileSync(hosts, '127.0.0.1 localhost loki.test\n');
  // Only the agent sees this hosts file.
  const wrapper = ['unshare', '--mount', 'sh', '-c', `mount --bind ${hosts} /etc/hosts && exec "$@"`, 'sh'];
  const url = `http://loki.test:${loki.port}`;
  await using agent = await serve(folder.path, { sinks: { loki: { url, batch: { age: '50ms' } } } }, { wrapper });
  const ports = [await send(1)];
  const arrived = () => loki.records.map(({ src }) => Number(src?.split(':').at(-1)));
  await eventually(() => expect(arrived()).toEqual(expect.arrayContaining(ports)));
  writeFileSync(hosts, '127.0.0.1 localhost\n');
  await loki.down();
  await loki.up();
  ports.push(await send(1));
  await eventually(async () => {
    const { sinks } = await agent.json<{ sinks: { state: string; reason: string }[] }>('/api/v1/sinks');
    expect(sinks).toEqual([
      expect.objectContaining({
        state: 'failed',
        reason: expect.stringMatching(/loki\.test:\d+: .*(ENOTFOUND|EAI_AGAIN)/),
      }),
    ]);
  });
  writeFileSync(hosts, '127.0.0.1 localhost\n127.0.0.2 loki.test\n');
  await eventually(() => expect(arrived()).toEqual(expect.arrayContaining(ports)));
  expect(await endAndCount(agent, 'loki')).toEqual({ delivered: loki.entries.length, dropped: 0 });
  expect(loki.addresses.at(-1)).toBe('127.0.0.2');
});
