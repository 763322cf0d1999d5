import { rmSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createLogger, transports } from 'winston';
import { ConfigReader } from '#config/load.ts';
import { Files } from '#files/files.ts';
import { PROBES } from '#probes/index.ts';
import { LokiServer } from '../../test/support/loki_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { LogShipping } from './log_shipping.ts';

const shown = (loki: LokiServer) => loki.entries.map(({ labels, line }) => [labels['level'], line]);

it('ships each line once, by the client of the sinks: in order, with secrets read again, and with failures reported', async () => {
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'log-'));
  const token = join(folder.path, 'token');
  writeFileSync(token, 'hunter2\n');
  const told: string[] = [];
  const log = createLogger({ level: 'info', transports: [new transports.Console({ silent: true })] });
  log.on('data', ({ message }) => told.push(String(message)));
  const shipping = new LogShipping(log, 'n1', new Files());
  const ship = (more: object) => {
    const text = JSON.stringify({ log: { loki: { url: loki.url, tenant: 't', ...more } } });
    return shipping.apply(new ConfigReader(PROBES).parse(text).log.loki);
  };
  await ship({ bearerTokenFile: token, labels: { cluster: 'c1' } });
  log.info('one');
  log.error('two');
  log.debug('not at this level');
  log.info('three');
  await eventually(() => expect(loki.entries).toHaveLength(3));
  expect(shown(loki).sort()).toEqual([
    ['error', 'two'],
    ['info', 'one'],
    ['info', 'three'],
  ]);
  expect(loki).toMatchObject({ unordered: 0, duplicates: 0 });
  expect(loki.entries[0]?.labels).toMatchObject({ job: 'netsonde-agent', node: 'n1', cluster: 'c1' });
  expect(loki.requests[0]?.headers).toMatchObject({ authorization: 'Bearer hunter2', 'x-scope-orgid': 't' });
  rmSync(token);
  log.info('four');
  await eventually(() => expect(told.join()).toMatch(/log lines do not reach loki: ENOENT.*token/));
  writeFileSync(token, 'another\n');
  // The failure itself is also logged.
  await eventually(() => expect(shown(loki).map(([, line]) => line)).toContain('four'));
  await eventually(() => expect(shown(loki).map(([, line]) => line)).toContainEqual(expect.stringMatching(/ENOENT/)));
  expect(loki.requests.at(-1)?.headers.authorization).toBe('Bearer another');
  await shipping.close();
});

it('waiting lines are sent when it ends, and an unreachable Loki delays nothing', async () => {
  await using loki = await LokiServer.start();
  const log = createLogger({ level: 'info', transports: [new transports.Console({ silent: true })] });
  const config = (url: string) =>
    new ConfigReader(PROBES).parse(JSON.stringify({ log: { loki: { url, timeout: '60s' } } })).log.loki;
  const shipping = new LogShipping(log, 'n1', new Files());
  await shipping.apply(config(loki.url));
  log.info('last');
  await shipping.close();
  expect(shown(loki)).toEqual([['info', 'last']]);
  loki.fault = () => ({ hang: true });
  await shipping.apply(config(loki.url));
  for (let line = 0; line < 5_000; line++) log.info(`${line}`);
  await shipping.close();
  expect(loki.entries).toHaveLength(1);
});
