import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeFlows } from '../../test/support/flow_lines.ts';
import { followFlows, runFlows, type Screen, showFlows } from './flows.ts';

let server: Server;
let respond: (url: URL, response: ServerResponse) => void;
let asked: string[];
let text: string;

beforeEach(async () => {
  asked = [];
  text = '';
  server = createServer((request: IncomingMessage, response) => {
    const url = new URL(request.url ?? '', 'http://agent');
    asked.push(`${url.pathname}${url.search}`);
    respond(url, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const screen = (isTerminal = false): Screen => ({
  print: (part) => {
    text += part;
  },
  room: () => ({ columns: 120, lines: 40 }),
  isTerminal,
});

const options = (more: object = {}) => ({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  query: {},
  output: 'text' as const,
  intervalMs: 1,
  count: 1,
  ...more,
});

const EDGE = {
  namespace: 'shop',
  pod: 'cart',
  netns: '2',
  role: 'client',
  peer: '10.0.0.7',
  port: 5_432,
  open: 1,
  connections: 10,
  failed: { refused: 1 },
  sentBytes: 1_000,
  receivedBytes: 1_000,
  sentSegments: 10,
  retransmittedSegments: 0,
  roundTripSeconds: null,
  roundTripCount: 0,
  field: 'of a newer agent',
};

function report(second: number, edges: object[] = [EDGE]): string {
  return JSON.stringify({
    node: 'n1',
    collectedAt: `2026-01-01T00:00:0${second}.000Z`,
    edges,
    omitted: 0,
    rest: [],
    field: 'of a newer agent',
  });
}

const run = (more: object = {}, isTerminal = false) =>
  showFlows(options(more), screen(isTerminal), new AbortController().signal);

describe('netsonde flows', () => {
  it('shows totals, then rates; an answer of the same collection is no table of its own', async () => {
    const answers = [
      report(1),
      report(1),
      report(3, [{ ...EDGE, sentBytes: 5_000, failed: { refused: 1, brand_new: 3 } }]),
    ];
    respond = (_, response) => void response.end(answers.shift());
    await run({ count: 2, query: { pod: 'cart', failed: 'true' } });
    expect(asked).toEqual(Array(3).fill('/api/v1/flows?pod=cart&failed=true'));
    const tables = text.split('n1: ').slice(1);
    expect(tables.map((table) => table.split('\n')[0])).toEqual([
      'totals at 2026-01-01T00:00:01Z',
      '2.0 s up to 2026-01-01T00:00:03Z',
    ]);
    expect(tables[0]).toMatch(/shop\/cart +client +10\.0\.0\.7 +5432 +1 +10 +1 +refused +0% +1k +1k +-\n/);
    expect(tables[1]).toMatch(/shop\/cart +client +10\.0\.0\.7 +5432 +1 +0 +3 +brand_new +- +2k +0 +-\n/);
  });

  it('overwrites the table before on a terminal', async () => {
    const answers = [report(1), report(3)];
    respond = (_, response) => void response.end(answers.shift());
    await run({ count: 2 }, true);
    expect(text.split('\u001b[H')).toHaveLength(3);
    expect(text.endsWith('\u001b[J')).toBe(true);
  });

  it('gives the answer as JSON, with its active characters written as their codes', async () => {
    respond = (_, response) => void response.end(report(1, [{ ...EDGE, pod: '\u202e' }]));
    await run({ output: 'json' });
    expect(text).toBe(`${report(1, [{ ...EDGE, pod: '\u202e' }]).replace('\u202e', '\\u202e')}\n`);
  });

  it.each([
    [
      409,
      '{"error":"the probe flow is off; switch it on"}',
      'the agent responded with 409: the probe flow is off; switch it on',
    ],
    [200, '{"edges":[]}', 'the response cannot be parsed, because the agent has a different version'],
    [404, '{"error":"no such page"}', 'the agent responded with 404: no such page'],
  ])('reports %d %s', async (status, body, message) => {
    respond = (_, response) => void response.writeHead(status).end(body);
    await expect(run()).rejects.toThrow(message);
  });

  it('reports that no agent answers', async () => {
    await expect(run({ url: 'http://127.0.0.1:64999' })).rejects.toThrow(
      /cannot connect to the agent at 127\.0\.0\.1:64999 \(--url\): /,
    );
    await expect(run({ socketPath: '/nonexistent/socket' })).rejects.toThrow(
      /cannot connect to the agent at \/nonexistent\/socket \(--api-socket\): /,
    );
  });

  it.each([
    [['-o', 'yaml'], '-o yaml: give json or text'],
    [['--interval', '5'], '--interval 5: give a duration from 1s to 1h, like 3s'],
    [['--interval', '10ms'], '--interval 10ms: give a duration from 1s to 1h'],
    [['--count', '0'], '--count 0: give a number of tables, like 2'],
    [['--url', 'x'], '--url x: give a URL like'],
    [['--bytes'], '--bytes'],
  ])('%j is refused with a message', async (args, message) => {
    await expect(runFlows(args)).rejects.toThrow(message);
  });
});

describe('netsonde flows --follow', () => {
  const [refused = {}] = makeFlows(1, { message: 'A connection from here to there failed.' });

  it('shows each record in a line, one that it does not understand as received', async () => {
    const closed = { ...refused, failed: false, cause: null, end: 'rerouted', pod: '', namespace: '', newer: 1 };
    const odd = { ...refused, time: 1, message: '\u001b[2J' };
    respond = ({ pathname }, response) => {
      if (pathname === '/api/v1/flows') response.end(report(1));
      else
        response.end(
          [refused, closed, { ...refused, pod: null }, odd].map((one) => `${JSON.stringify(one)}\n`).join(''),
        );
    };
    await followFlows(options({ query: { peer: '10.0.0.7' } }), screen(), new AbortController().signal);
    expect(asked).toEqual(['/api/v1/flows?limit=1', '/api/v1/flows/stream?peer=10.0.0.7&follow=true']);
    const lines = text.split('\n');
    expect(lines.slice(0, 3)).toEqual([
      '2026-01-01T00:00:00.000Z warning shop/cart refused: A connection from here to there failed.',
      '2026-01-01T00:00:00.000Z info node rerouted: A connection from here to there failed.',
      '2026-01-01T00:00:00.000Z warning ? refused: A connection from here to there failed.',
    ]);
    expect(lines[3]).toContain('\\u001b[2J');
    expect(lines.slice(4)).toEqual(['']);
  });

  it('says that the probe is off, since a stream would stay silent', async () => {
    respond = (_, response) => void response.writeHead(409).end('{"error":"the probe flow is off"}');
    const following = followFlows(options(), screen(), new AbortController().signal);
    await expect(following).rejects.toThrow('the agent responded with 409: the probe flow is off');
  });

  it('ends in silence when it is told to', async () => {
    const stopped = new AbortController();
    respond = ({ pathname }, response) => {
      if (pathname === '/api/v1/flows') response.end(report(1));
      else response.write(`${JSON.stringify(refused)}\n`, () => stopped.abort());
    };
    await followFlows(options(), screen(), stopped.signal);
    expect(text.split('\n').length).toBeLessThanOrEqual(2);
  });
});
