import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeEvents } from '../../test/support/event_lines.ts';
import { showEvents } from './events.ts';

let server: Server;
let status: number;
let body: string;

beforeEach(async () => {
  status = 200;
  server = createServer((_, response) => void response.writeHead(status).end(body));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** Returns the command's output if the agent responds with these lines. */
async function shown(lines: readonly (object | string)[], output: 'text' | 'json' = 'text'): Promise<string> {
  body = lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
  let text = '';
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const print = (part: string) => {
    text += part;
  };
  await showEvents({ url, follow: false, output }, print, new AbortController().signal);
  return text;
}

const [event = {}] = makeEvents(1, { namespace: 'shop', pod: 'cart' });
const LINE = '2026-01-01T00:00:00.000Z warning shop/cart packet_drop: event 0\n';

it('shows an event in a line, even one of a newer agent with more fields and another severity', async () => {
  expect(await shown([event, { ...event, count: 3 }])).toBe(`${LINE}${LINE.trimEnd()} (3 times)\n`);
  const newer = { ...event, severity: 'fatal', weight: { kilograms: 1 }, netns: { cookie: 1 }, labels: [] };
  expect(await shown([newer])).toBe(LINE.replace('warning', 'fatal'));
});

it('shows unknown events as received, and continues', async () => {
  const { message: _, ...silent } = event as Record<string, unknown>;
  const odd = { ...event, time: 1, message: '\u001b[2J' };
  const [first, second, ...rest] = (await shown([silent, odd, 'null', '{"half', event])).split('\n');
  expect(JSON.parse(first ?? '')).toEqual(silent);
  expect(second).toContain('\\u001b[2J');
  expect(rest.join('\n')).toBe(`null\n{"half\n${LINE}`);
});

it('leaves JSON as received', async () => {
  expect(await shown(['{"a": 1}', '{"half'], 'json')).toBe('{"a": 1}\n{"half\n');
});

it.each([
  ['{"error": "no such parameter: x", "code": 7}', 'no such parameter: x'],
  ['{"error": {"message": "x"}}', '{"error": {"message": "x"}}'],
  ['null', 'null'],
  ['<h1>Bad Gateway</h1>', '<h1>Bad Gateway</h1>'],
])('reports why the agent refuses: %s', async (answer, reason) => {
  status = 502;
  await expect(shown([answer])).rejects.toThrow(`the agent responded with 502: ${reason}`);
});
