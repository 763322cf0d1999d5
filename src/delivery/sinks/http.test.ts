import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { makeCertificates } from '../../../test/support/certificates.ts';
import { makeEvents } from '../../../test/support/event_lines.ts';
import { EventWay, parseSinks } from '../../../test/support/event_way.ts';
import { HttpProxy } from '../../../test/support/http_proxy.ts';
import { LokiServer } from '../../../test/support/loki_server.ts';
import { eventually } from '../../../test/support/oracle.ts';
import type { Network } from './dial.ts';
import { type Answer, HttpPoster, parseRetryAfter } from './http.ts';

const DATE = 'Sat, 21 Nov 2026 03:00:00 GMT';

it.each([
  ['seconds', '120', DATE, 120_000],
  ['seconds without a date', '120', undefined, 120_000],
  ['a date, by the clock of the server', 'Sat, 21 Nov 2026 03:01:30 GMT', DATE, 90_000],
  ['a date that has passed', 'Sat, 21 Nov 2026 02:59:59 GMT', DATE, 0],
  ['a date without the time of the answer', 'Sat, 21 Nov 2026 03:01:30 GMT', undefined, 0],
  ['neither', 'soon', DATE, 0],
  ['nothing', undefined, DATE, 0],
])('Retry-After says %s', (_, text, date, ms) => {
  expect(parseRetryAfter(text, date)).toBe(ms);
});

let folder: string;
let closing: AsyncDisposableStack;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'http-'));
  closing = new AsyncDisposableStack();
});

afterEach(async () => {
  await closing.disposeAsync();
  await rm(folder, { recursive: true, force: true });
});

type Serve = (request: IncomingMessage, response: ServerResponse) => void;

/** Starts a server that reads each request and then calls `answer`. Returns the server's port. */
async function serve(answer: Serve, host = '127.0.0.1'): Promise<number> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => answer(request, response));
  });
  closing.defer(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

function secretFile(secret: string): string {
  const path = join(folder, 'secret');
  writeFileSync(path, `${secret}\n`);
  return path;
}

async function way(config: { readonly url: string }, name: 'loki' | 'otlp' = 'loki'): Promise<EventWay> {
  const opened = await EventWay.open({ [name]: { batch: { age: '20ms' }, ...config } });
  closing.use(opened);
  return opened;
}

/** Sends three events, and returns the reason that the sink gives for the failure. */
async function failureOf(config: { readonly url: string }, name: 'loki' | 'otlp' = 'loki'): Promise<string> {
  const opened = await way(config, name);
  opened.publish(makeEvents(3));
  await eventually(() => expect(opened.status(name)).toMatchObject({ state: 'failed', pending: 3 }));
  const { reason = '' } = opened.status(name) ?? {};
  expect(opened.logged).toEqual([`events do not reach ${name}: ${reason}`]);
  // The remaining records are undeliverable, so the sink is closed without waiting for them.
  await opened.sinks.close(1);
  return reason;
}

const page = '<html><head><title>Log in</title></head><body>Who are you?</body></html>';

describe('an answer that does not come from the server', () => {
  it.each(['loki', 'otlp'] as const)('200 with a login page does not count as delivered: %s', async (name) => {
    const port = await serve((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(page));
    expect(await failureOf({ url: `http://127.0.0.1:${port}` }, name)).toMatch(
      /^it returned 200; .*, but this is a web page, such as a login or an error of a proxy; check url$/,
    );
  });

  it.each([
    ['loki', 200, '', 'it returned 200; Loki returns 204; check url'],
    ['loki', 202, 'ok', 'it returned 202; Loki returns 204; check url'],
    ['otlp', 200, 'ok', 'it returned 200; that is not a response of a collector; check url'],
  ] as const)('%s: %i with "%s"', async (name, status, text, reason) => {
    const port = await serve((_, response) => response.writeHead(status, { 'content-type': 'text/plain' }).end(text));
    expect(await failureOf({ url: `http://127.0.0.1:${port}` }, name)).toBe(reason);
  });

  it.each([
    [204, undefined, undefined],
    [200, undefined, undefined],
    [200, 'application/json', '{"partialSuccess":{}}'],
  ])('otlp: %i, %s, %s counts as delivered', async (status, type, text) => {
    const headers = type === undefined ? {} : { 'content-type': type };
    const port = await serve((_, response) => response.writeHead(status, headers).end(text));
    const opened = await way({ url: `http://127.0.0.1:${port}` }, 'otlp');
    opened.publish(makeEvents(3));
    expect(await opened.settled('otlp')).toMatchObject({ delivered: 3, lost: 0 });
  });

  it.each([301, 302, 307, 308])(
    '%i is shown with its location, and our credentials do not go there',
    async (status) => {
      let asked = 0;
      const other = await serve((_, response) => {
        asked++;
        response.writeHead(204).end();
      });
      const location = `http://u:p@127.0.0.1:${other}/loki/api/v1/push?token=t0psecret`;
      const port = await serve((_, response) => response.writeHead(status, { location }).end('moved'));
      expect(await failureOf({ url: `http://127.0.0.1:${port}` })).toBe(
        `it returned ${status}; it redirects to http://127.0.0.1:${other}/loki/api/v1/push: use that as url if it is right`,
      );
      expect(asked).toBe(0);
    },
  );

  it('without an end is read up to a limit, however long it continues', async () => {
    let sent = 0;
    const port = await serve((_, response) => {
      response.writeHead(500);
      response.on('error', () => undefined);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536))) sent += 65_536;
      };
      response.on('drain', more);
      more();
    });
    const reason = await failureOf({ url: `http://127.0.0.1:${port}` });
    expect(reason).toMatch(/^it returned 500: x{300}…; check its log$/);
    const soFar = sent;
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toBe(soFar);
  });

  it('that is announced again and again ends the request', async () => {
    let [sent, requests] = [0, 0];
    const port = await serve((_, response) => {
      requests++;
      response.on('error', () => undefined);
      const more = () => {
        if (response.destroyed || response.socket?.destroyed !== false) return;
        sent++;
        response.writeProcessing();
        setImmediate(more);
      };
      more();
    });
    expect(await failureOf({ url: `http://127.0.0.1:${port}` })).toBe(
      `127.0.0.1:${port}: the server sent 17 interim responses and no final one`,
    );
    expect(sent).toBeGreaterThanOrEqual(17 * requests);
  });

  it('may be announced before it arrives', async () => {
    const port = await serve((_, response) => {
      for (let interim = 0; interim < 16; interim++) response.writeProcessing();
      response.writeHead(503).end('no');
    });
    expect(await failureOf({ url: `http://127.0.0.1:${port}`, bearerTokenFile: secretFile('token') } as never)).toBe(
      'it returned 503: no; check its log',
    );
  });

  it('is shown without control characters and without our secrets', async () => {
    const port = await serve(({ headers }, response) => {
      const { authorization = '', 'x-key': key = '', 'x-scope-orgid': tenant = '' } = headers;
      response
        .writeHead(401)
        .end(`\u001b[2Jno \u202eright\u0007 for ${authorization}, ${String(key)} and ${String(tenant)}\nmore`);
    });
    const url = `http://127.0.0.1:${port}`;
    const headers = { 'X-Key': 'k3y-of-ours' };
    const shown =
      /^it returned 401: \[2Jno right for (?:Bearer|Basic) \*\*\*, \*\*\* and \*\*\*; it requires credentials/;
    const path = secretFile('hunter2');
    expect(await failureOf({ url, headers, tenant: 'team-a', bearerTokenFile: path } as never)).toMatch(shown);
    const basicAuth = { username: 'u', passwordFile: path };
    expect(await failureOf({ url, headers, tenant: 'team-a', basicAuth } as never)).toMatch(shown);
  });
});

it('a token or a certificate that is not a regular file holds up nothing, and is reported', async () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  expect(await failureOf({ url: 'http://127.0.0.1:1', bearerTokenFile: path } as never)).toMatch(/pipe.*regular file/);
  const tls = { ca: path };
  const port = await serve(() => undefined);
  expect(await failureOf({ url: `https://127.0.0.1:${port}`, tls } as never)).toMatch(/pipe.*regular file/);
});

describe('a proxy', () => {
  it('gets requests for http:// as they are, with its own credentials', async () => {
    const loki = closing.use(await LokiServer.start());
    const proxy = closing.use(await HttpProxy.start());
    proxy.login = `Basic ${Buffer.from('u:hunter2').toString('base64')}`;
    const basicAuth = { username: 'u', passwordFile: secretFile('hunter2') };
    const opened = await way({ url: loki.url, proxy: { url: proxy.url, basicAuth } } as never);
    opened.publish(makeEvents(3));
    expect(await opened.settled('loki')).toMatchObject({ delivered: 3, lost: 0 });
    expect(proxy.asked).toEqual([{ line: `POST ${loki.url}/loki/api/v1/push`, login: proxy.login }]);
    expect(loki.requests[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(loki.requests[0]?.headers.host).toBe(`127.0.0.1:${loki.port}`);
  });

  it('opens a tunnel for https://, and sees nothing of what goes through it', async () => {
    makeCertificates(folder);
    const at = (name: string) => join(folder, name);
    const tls = { key: readFileSync(at('server.key')), cert: readFileSync(at('server.crt')) };
    const loki = closing.use(await LokiServer.start(tls));
    const proxy = closing.use(await HttpProxy.start());
    proxy.login = `Basic ${Buffer.from('u:hunter2').toString('base64')}`;
    const basicAuth = { username: 'u', passwordFile: secretFile('hunter2') };
    const config = { url: loki.url, tls: { ca: at('ca.crt') }, bearerTokenFile: secretFile('hunter2') };
    const opened = await way({ ...config, proxy: { url: proxy.url, basicAuth } } as never);
    opened.publish(makeEvents(3));
    expect(await opened.settled('loki')).toMatchObject({ delivered: 3, lost: 0 });
    expect(proxy.asked).toEqual([{ line: `CONNECT 127.0.0.1:${loki.port}`, login: proxy.login }]);
    expect(loki.requests[0]?.headers).toMatchObject({ authorization: 'Bearer hunter2' });
    expect(await failureOf({ ...config, proxy: { url: proxy.url } } as never)).toBe(
      `127.0.0.1:${loki.port}: the proxy ${proxy.url.slice('http://'.length)} returned 407: set proxy.basicAuth`,
    );
  });

  it.each(['http', 'https'])('that refuses us says what it asks for, with %s://', async (protocol) => {
    const proxy = closing.use(await HttpProxy.start());
    proxy.login = 'Basic other';
    expect(await failureOf({ url: `${protocol}://loki.invalid`, proxy: { url: proxy.url } } as never)).toMatch(
      /returned 407.*set proxy\.basicAuth|returned 407; the proxy requires credentials: set proxy.basicAuth/,
    );
  });

  it('in the environment is not used, which is said where it may be expected', async () => {
    process.env['HTTPS_PROXY'] = 'http://127.0.0.1:9';
    closing.defer(() => void delete process.env['HTTPS_PROXY']);
    expect(await failureOf({ url: 'http://127.0.0.1:1' })).toMatch(
      /ECONNREFUSED.*nothing listens there.*; HTTPS_PROXY is ignored: set the option proxy$/,
    );
  });
});

describe('a name', () => {
  function post(url: string, network: Network, timeout = '10s'): Promise<Answer> {
    const { loki } = parseSinks({ loki: { url, timeout, compress: false } });
    if (loki === undefined) throw new Error('no sink');
    const poster = new HttpPoster(new URL(url), loki, new Files(), 1, network);
    closing.defer(() => poster.close());
    return poster.post('text', {}, new AbortController().signal);
  }

  const V4 = { address: '192.0.2.1', family: 4 };
  const V6 = { address: '2001:db8::1', family: 6 };

  /** These functions return sockets that fail, never connect, or connect once the event has happened. */
  const fails = (code: string) => {
    const socket = new Socket();
    setImmediate(() => socket.destroy(Object.assign(new Error(`connect ${code}`), { code })));
    return socket;
  };
  const hangs = () => new Socket();
  const connectsAfter = (event: Promise<void>, port: number) => {
    const socket = new Socket();
    void event.then(() => socket.connect(port, '127.0.0.1'));
    return socket;
  };

  it.each([
    ['IPv6 has no route', [V4, V6], () => fails('ENETUNREACH')],
    ['IPv6 has no route, and comes first', [V6, V4], () => fails('ENETUNREACH')],
    ['IPv6 never answers', [V4, V6], hangs],
    ['IPv6 never answers, and comes first', [V6, V4], hangs],
  ])('with two families, one of them dead, connects by the other: %s', async (_, addresses, dead) => {
    const port = await serve((_request, response) => response.writeHead(204).end());
    const opened: string[] = [];
    const { promise: bothOpened, resolve } = Promise.withResolvers<void>();
    const network: Network = {
      lookup: async () => addresses,
      open: (address) => {
        opened.push(address);
        if (opened.length === addresses.length) resolve();
        return address === V4.address ? connectsAfter(bothOpened, port) : dead();
      },
    };
    expect(await post(`http://loki.example:${port}`, network)).toMatchObject({ status: 204 });
    expect(opened.sort()).toEqual([V4.address, V6.address]);
  });

  it('is tried at every address, the families in turns, and each failure is reported', async () => {
    const opened: string[] = [];
    const network: Network = {
      lookup: async () => [V4, { address: '192.0.2.2', family: 4 }, V6],
      open: (address) => {
        opened.push(address);
        return fails(`E${opened.length}`);
      },
    };
    await expect(post('http://loki.example', network)).rejects.toThrow(
      'loki.example: connect E1; connect E2; connect E3',
    );
    expect(opened).toEqual([V4.address, V6.address, '192.0.2.2']);
  });

  it('whose addresses do not answer says so', async () => {
    const network: Network = { lookup: async () => [V4, V6], open: hangs };
    await expect(post('http://loki.example:3100', network, '400ms')).rejects.toThrow(
      'loki.example:3100: no response to a connection to 192.0.2.1:3100 and [2001:db8::1]:3100 within 400 ms: check the address',
    );
  });

  it('that DNS never answers for is looked up once, however often we try', async () => {
    let lookups = 0;
    const { promise, resolve } = Promise.withResolvers<(typeof V4)[]>();
    const port = await serve((_, response) => response.writeHead(204).end());
    const network: Network = {
      lookup: () => {
        lookups++;
        return promise;
      },
      open: () => connect(port, '127.0.0.1'),
    };
    const { loki } = parseSinks({ loki: { url: 'http://loki.example', timeout: '100ms' } });
    if (loki === undefined) throw new Error('no sink');
    const poster = new HttpPoster(new URL(loki.url), loki, new Files(), 1, network);
    closing.defer(() => poster.close());
    const post = () => poster.post('text', {}, new AbortController().signal);
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(post()).rejects.toThrow(
        'loki.example: DNS did not respond for loki.example within 100 ms: check the resolver of the node',
      );
    }
    expect(lookups).toBe(1);
    resolve([V4]);
    await eventually(async () => expect(await post()).toMatchObject({ status: 204 }));
  });

  it('that does not exist is distinguished from one that DNS gives no answer for', async () => {
    const network: Network = {
      lookup: async () => {
        throw Object.assign(new Error('getaddrinfo ENOTFOUND loki.example'), { code: 'ENOTFOUND' });
      },
      open: hangs,
    };
    await expect(post('http://loki.example', network)).rejects.toThrow(/ENOTFOUND.*: DNS does not know this name/);
  });
});
