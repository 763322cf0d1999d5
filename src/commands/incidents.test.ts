import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { showIncidents } from './incidents.ts';

let server: Server;
let status: number;
let body: string;
let asked: string;

beforeEach(async () => {
  status = 200;
  server = createServer(({ url = '' }, response) => {
    asked = url;
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function shown(answer: string, more: object = {}): Promise<string> {
  body = answer;
  let text = '';
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const print = (part: string) => {
    text += part;
  };
  await showIncidents({ url, follow: false, output: 'text', ...more }, print, new AbortController().signal);
  return text;
}

const INCIDENT = {
  time: '2026-01-01T00:00:09.000000000Z',
  firstTime: '2026-01-01T00:00:00.000000000Z',
  state: 'open',
  cause: 'firewall',
  severity: 'warning',
  message: 'From a to b \u001b[2J',
};
const LINE = '2026-01-01T00:00:00Z open warning firewall: From a to b \\u{1b}[2J';

it('shows an incident as a line, without text that attacks a terminal', async () => {
  const answer = JSON.stringify({ open: 1, incidents: [INCIDENT, { ...INCIDENT, state: 'ended' }] });
  expect(await shown(answer)).toBe(`${LINE}\n${LINE.replace('open', 'ended')}\n`);
  expect(await shown('{"open":0,"incidents":[]}')).toBe('no incidents\n');
  await shown(answer, { pod: 'shop/cart-0', cause: 'firewall', since: '10m' });
  expect(asked).toBe('/api/v1/incidents?namespace=shop&pod=cart-0&cause=firewall&since=10m');
  await expect(shown('{}')).rejects.toThrow('the agent has a different version');
});

it('follows them, and shows unknown ones as received', async () => {
  const lines = `${JSON.stringify(INCIDENT)}\n{"a":"\u001b"}\n`;
  expect(await shown(lines, { follow: true })).toBe(`${LINE}\n{"a":"\\u{1b}"}\n`);
  expect(asked).toBe('/api/v1/incidents/stream?follow=true');
  expect(await shown('{"a":1}\n', { follow: true, output: 'json' })).toBe('{"a":1}\n');
});
