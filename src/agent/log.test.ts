import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { transports } from 'winston';
import { createLog } from './log.ts';

it('foreign text in a message cannot start a line or control a terminal', async () => {
  const log = createLog('info');
  const written: string[] = [];
  const stream = new Writable({
    write: (chunk, _, done) => {
      written.push(String(chunk));
      done();
    },
  });
  log.clear().add(new transports.Stream({ stream }));
  log.error('refused:\n2026-01-01T00:00:00.000Z info all is well\u001b[2J\u009b31m\r\u202e');
  log.warn('next');
  const lines = written.join('').split(/(?<=\n)(?=\d)/);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(
    /^\S+ error refused:\n {2}2026-01-01T00:00:00\.000Z info all is well\\u\{1b\}\[2J\\u\{9b\}31m\\u\{d\}\\u\{202e\}\n$/,
  );
});
