import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../test/support/oracle.ts';
import { type ConnectionLimits, Connections, PIPELINED_MAX } from './connections.ts';
import { Listeners } from './listeners.ts';
import { type RefusalCause, Refusals } from './refusals.ts';

const MIB = 1024 * 1024;
const LARGE = Buffer.alloc(8 * MIB, 'x');

/** A server that responds to `/fast` immediately, to `/large` with 8 MiB, and to `/held` when the test releases it. */
class Host {
  readonly refusals = new Refusals();
  readonly connections: Connections;
  readonly #listeners: Listeners;
  readonly #http = createHttp((request, response) =>
    this.connections.handle(request, response, (...call) => this.#answer(...call)),
  );
  readonly #directory = mkdtempSync(join(tmpdir(), 'connections-'));
  readonly clients: Socket[] = [];
  /** Paths of the requests that reached the application. */
  readonly asked: string[] = [];
  readonly held: ServerResponse[] = [];
  /** Maximum number of requests that were in the application at the same time. */
  mostOpen = 0;
  #open = 0;

  constructor(limits: Partial<ConnectionLimits> = {}) {
    this.connections = new Connections(this.refusals, limits);
    this.#listeners = new Listeners(this.connections, this.refusals);
  }

  async start(): Promise<this> {
    const app = (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response);
    await this.#listeners.onAddress({ host: '127.0.0.1', port: 0 }, app);
    await this.#listeners.onUnix(this.#unixPath, app);
    return this;
  }

  /** Opens a client that sends this text, and reads nothing until the test resumes it. */
  client(text: string, by: 'tcp' | 'unix' = 'tcp', options: { allowHalfOpen?: boolean } = {}): Socket {
    const [host, port] = this.#listeners.address.split(':');
    const where: NetConnectOpts = by === 'unix' ? { path: this.#unixPath } : { host, port: Number(port) };
    const socket = connect({ ...where, ...options });
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(text);
    this.clients.push(socket);
    return socket;
  }

  get port(): number {
    return Number(this.#listeners.address.split(':')[1]);
  }

  /** Handles a connection that was accepted by another server. */
  accept(socket: Socket): void {
    this.connections.open(socket);
    this.#http.emit('connection', socket);
    socket.resume();
  }

  count(cause: RefusalCause): number {
    return this.refusals.counts.get(cause) ?? 0;
  }

  close(): void {
    for (const client of this.clients) client.destroy();
    this.#listeners[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #unixPath(): string {
    return join(this.#directory, 'api.sock');
  }

  #answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
    this.asked.push(url);
    this.#open++;
    this.mostOpen = Math.max(this.mostOpen, this.#open);
    response.once('close', () => {
      this.#open--;
    });
    if (url === '/held') this.held.push(response);
    else response.end(url === '/large' ? LARGE : `answer to ${url}\n`);
  }
}

let host: Host;
let opened: { close(): void }[];

async function serve(limits: Partial<ConnectionLimits> = {}): Promise<Host> {
  host = await new Host(limits).start();
  opened.push(host);
  return host;
}

beforeEach(() => {
  opened = [];
});
afterEach(() => {
  for (const each of opened) each.close();
});

const get = (path: string, version = '1.1', headers = '') =>
  `GET ${path} HTTP/${version}\r\nHost: localhost\r\n${headers}\r\n`;

/** Returns the bytes that the client receives until the connection closes, or until they contain `end`. */
function received(client: Socket, end?: string): Promise<string> {
  let text = '';
  return new Promise((resolve) => {
    client.on('data', (data) => {
      text += String(data);
      if (end !== undefined && text.includes(end)) resolve(text);
    });
    client.once('close', () => resolve(text));
    client.resume();
  });
}

/** Sends a request over a new connection, and returns the response. */
const answered = (path: string, by: 'tcp' | 'unix' = 'tcp') =>
  received(host.client(get(path, '1.1', 'Connection: close\r\n'), by));

describe('pipelined requests', () => {
  it('are answered one after the other, in order', async () => {
    await serve();
    const paths = Array.from({ length: PIPELINED_MAX }, (_, index) => `/fast/${index}`);
    const text = await received(
      host.client(paths.map((path) => get(path)).join('') + get('/last', '1.1', 'Connection: close\r\n')),
    );
    expect([...text.matchAll(/^answer to (\S+)$/gm)].map(([, path]) => path)).toEqual([...paths, '/last']);
    expect(host.asked).toEqual([...paths, '/last']);
    expect(host.mostOpen).toBe(1);
  });

  it.each([
    ['over TCP', 'tcp', '1.1', '/held'],
    ['over the Unix socket', 'unix', '1.1', '/held'],
    ['for answers of 8 MiB', 'tcp', '1.1', '/large'],
    // An HTTP/1.0 connection carries only one request, so bytes that follow it are malformed.
    ['by HTTP/1.0', 'tcp', '1.0', '/held', 'malformed'],
  ] as const)(
    'are closed and counted where a client sends a thousand %s and takes nothing, and others are answered',
    async (_, by, version, path, cause: RefusalCause = 'pipelined') => {
      await serve();
      host.client(get(path, version).repeat(1_000), by);
      await eventually(() => expect(host.count(cause)).toBe(1));
      expect(await answered('/healthz')).toContain('answer to /healthz');
      await eventually(() => expect(host.connections.count).toBe(0));
      expect([host.asked.filter((asked) => asked === path).length, host.connections.unreadBytes]).toEqual([1, 0]);
    },
  );

  it('are not processed once the client has gone', async () => {
    await serve();
    const client = host.client(get('/held').repeat(10));
    await eventually(() => expect(host.held).toHaveLength(1));
    client.destroy();
    await eventually(() => expect(host.connections.count).toBe(0));
    host.held[0]?.end('late');
    expect(await answered('/fast')).toContain('answer to /fast');
    expect(host.asked).toEqual(['/held', '/fast']);
  });

  it('of a client that has closed its half do not cause endless work', async () => {
    await serve();
    const client = host.client(get('/held').repeat(10), 'tcp', { allowHalfOpen: true });
    client.end();
    await eventually(() => expect(host.asked).toHaveLength(1));
    await eventually(() => expect(host.connections.count).toBe(0));
    expect(host.asked).toHaveLength(1);
  });
});

describe('connections', () => {
  it('are limited: the newest is served, and the owner with the most gives way', async () => {
    await serve({ connections: 8, newcomers: 1_000 });
    const unix = host.client(get('/held'), 'unix');
    await eventually(() => expect(host.held).toHaveLength(1));
    for (let index = 0; index < 200; index++) host.client(get('/held'));
    await eventually(() => expect(host.count('connections')).toBe(200 - 7));
    expect(host.connections.count).toBe(8);
    expect(await answered('/healthz')).toContain('answer to /healthz');
    host.held[0]?.end('here it is');
    expect(await received(unix, 'here')).toContain('here it is');
  });

  describe('that come in one burst', () => {
    /**
     * Opens this number of connections, which are all accepted in one turn of the event loop. The first one requests
     * `/fast`, and the others request `/held`.
     */
    async function burst(count: number, limits: Partial<ConnectionLimits>) {
      await serve(limits);
      const accepted: Socket[] = [];
      const gathering = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => accepted.push(socket));
      gathering.listen(0, '127.0.0.1');
      await once(gathering, 'listening');
      const { port } = gathering.address() as AddressInfo;
      const clients: Socket[] = [];
      for (let index = 0; index < count; index++) {
        const client = connect({ host: '127.0.0.1', port });
        client.on('error', () => undefined);
        client.write(get(index === 0 ? '/first' : '/held', '1.1', 'Connection: close\r\n'));
        clients.push(client);
        await once(client, 'connect');
      }
      await eventually(() => expect(accepted).toHaveLength(count));
      let most = 0;
      for (const socket of accepted) {
        host.accept(socket);
        most = Math.max(most, host.connections.count);
      }
      opened.push(gathering);
      host.clients.push(...clients);
      return { first: clients[0] as Socket, most };
    }

    it('are read before any is closed', async () => {
      const { first, most } = await burst(100, { connections: 4, newcomers: 0 });
      expect(most).toBe(100);
      expect(await received(first)).toContain('answer to /first');
      await eventually(() => expect(host.connections.count).toBe(4));
    });

    it('are handled before any work begins that can wait', async () => {
      // On a busy machine a burst may take longer than the usual limit.
      await burst(20, { connections: 4, newcomers: 0, calmMs: 60_000 });
      const left = await new Promise<number>((resolve) => {
        host.connections.whenCalm(() => resolve(host.connections.count));
      });
      expect(left).toBeLessThanOrEqual(4);
    });

    it('postpone that work only until its deadline', async () => {
      await burst(20, { connections: 4, newcomers: 0, calmMs: 0 });
      const left = await new Promise<number>((resolve) => {
        host.connections.whenCalm(() => resolve(host.connections.count));
      });
      expect(left).toBe(20);
    });

    it('are limited before they are read', async () => {
      const { most } = await burst(100, { connections: 4, newcomers: 0, unreadNewcomers: 10 });
      expect(most).toBe(10);
      await eventually(() => expect(host.connections.count).toBeLessThanOrEqual(4));
    });
  });

  it('without a request give way first', async () => {
    await serve({ connections: 3, newcomers: 0 });
    const busy = host.client(get('/held'));
    await eventually(() => expect(host.held).toHaveLength(1));
    const idle = host.client('');
    await eventually(() => expect(host.connections.count).toBe(2));
    host.client(get('/held'));
    await eventually(() => expect(host.held).toHaveLength(2));
    const closed = once(idle, 'close');
    host.client(get('/held'));
    idle.resume();
    await closed;
    host.held[0]?.end('it has stayed');
    expect(await received(busy, 'stayed')).toContain('it has stayed');
  });

  it.each(['', 'GET / HT', 'GET / HTTP/1.1\r\nHost: localhost\r\nX: '])(
    'that never end their first request, %j, are closed',
    async (text) => {
      await serve({ firstRequestMs: 50 });
      expect(await received(host.client(text))).toBe('');
      expect(host.count('silent')).toBe(1);
    },
  );

  it('with a body are closed after the answer, and are not read to its end', async () => {
    await serve();
    const head = 'POST /fast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n';
    expect(await received(host.client(head))).toMatch(/Connection: close[\s\S]*answer to/);
  });

  it.each([
    ['is no HTTP', 'hello\r\n\r\n', '400 Bad Request', 'this is not HTTP/1.1'],
    [
      'has a header of a megabyte',
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(MIB)}`,
      '431 ',
      'the header of the request is too long',
    ],
  ])('whose request %s are answered with the reason', async (_, text, status, words) => {
    await serve();
    const answer = await received(host.client(text));
    expect(answer.startsWith(`HTTP/1.1 ${status}`)).toBe(true);
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toEqual({ error: words });
    expect(host.count('malformed')).toBe(1);
  });
});

describe('answers that clients do not take', () => {
  it('are limited for all connections together: the oldest give way, and a client that reads is served', async () => {
    await serve({ unreadBytes: 20 * MIB });
    for (let index = 0; index < 12; index++) host.client(get('/large'));
    await eventually(() => expect(host.asked).toHaveLength(12));
    expect(host.connections.unreadBytes).toBeLessThanOrEqual(28 * MIB);
    expect(host.count('unread')).toBeGreaterThanOrEqual(8);
    const text = await answered('/large');
    expect(text.length).toBeGreaterThan(LARGE.length);
    expect(host.connections.unreadBytes).toBeLessThanOrEqual(20 * MIB);
  });

  it('are aborted if the client takes nothing for a while', async () => {
    await serve({ unreadMs: 50 });
    host.client(get('/large'));
    await eventually(() => expect(host.count('unread')).toBe(1));
    expect([host.connections.count, host.connections.unreadBytes]).toEqual([0, 0]);
    // A client that has read its response may keep the connection idle, and send another request later.
    const client = host.client(get('/fast'));
    expect(await received(client, 'answer to')).toContain('answer to /fast');
    await new Promise((resolve) => setTimeout(resolve, 150));
    client.write(get('/again'));
    expect(await received(client, 'answer to')).toContain('answer to /again');
  });
});

it('every connection ends after a change of the access rules, after its current answer', async () => {
  await serve();
  const idle = host.client(get('/fast'));
  await received(idle, 'answer to');
  const busy = host.client(get('/held'));
  await eventually(() => expect(host.held).toHaveLength(1));
  const closed = once(idle, 'close');
  host.connections.retire();
  await closed;
  host.held[0]?.end('the last one');
  expect(await received(busy)).toContain('the last one');
});

/** Opens this number of connections, and counts those that succeed at the first attempt. */
const CONNECTS = `
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[2]))]
for one in held:
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    one.connect(('127.0.0.1', int(sys.argv[1])))
print(len(held))
`;

it('a thousand connections find room while the event loop is blocked', async () => {
  await serve();
  // execFileSync blocks the event loop, so the connections must fit into the kernel's accept queue.
  expect(execFileSync('python3', ['-c', CONNECTS, String(host.port), '1000'], { encoding: 'utf8' })).toBe('1000\n');
});
