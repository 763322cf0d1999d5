import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { expect, it } from 'vitest';
import type { ToolUse } from '#api/tool_use.ts';
import { newToolSocket } from '#core/tool_socket.ts';
import { announce } from './announce.ts';

const USE: ToolUse = { command: 'capture', netns: ['1'], request: 'packets' };

/** Announces a use to an agent whose HTTP interface is this handler. */
async function announceTo(handler: RequestListener, use = USE, limitMs = 60_000): Promise<string | undefined> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  try {
    return await announce({ url: `http://127.0.0.1:${port}` }, use, limitMs);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const agentAt =
  (toolSocket: unknown): RequestListener =>
  (_, response) =>
    response.end(JSON.stringify({ node: 'n1', toolSocket }));

it('says why a use is not recorded: no agent, an older one, one that does not respond, or no socket', async () => {
  expect(await announce({ url: 'http://127.0.0.1:1' }, USE)).toMatch(/^cannot connect to the agent at 127\.0\.0\.1:1/);
  expect(await announceTo(agentAt(undefined))).toBe('the agent has a version that does not record uses');
  expect(await announceTo((_, response) => response.writeHead(401).end('{"error":"no token"}'))).toMatch(
    /401: no token/,
  );
  expect(await announceTo(() => undefined, USE, 100)).toBe('the agent did not respond in time');
  expect(await announceTo(agentAt(newToolSocket()))).toMatch(/its probe `tooluse` does not run/);
});

it('sends one line to the socket, with a filter of limited length, and returns the reason in the response', async () => {
  const name = newToolSocket();
  const lines: string[] = [];
  const receipts = ['{"recorded":true}', '{"recorded":false,"reason":"no"}', 'garbage', ''];
  await using server = createSocketServer((socket) => {
    socket.once('data', (data) => {
      lines.push(String(data));
      socket.end(receipts[lines.length - 1] ?? '');
    });
  }).listen({ path: `\0${name}` });
  await once(server, 'listening');
  const use: ToolUse = { ...USE, filter: 'x'.repeat(10_000) };
  const answers: (string | undefined)[] = [];
  for (const _ of receipts) answers.push(await announceTo(agentAt(name), use));
  expect(answers).toEqual([undefined, 'no', 'the agent has a different version', 'the agent has a different version']);
  expect(JSON.parse(lines[0] ?? '')).toEqual({ ...USE, filter: 'x'.repeat(2_048) });
});
