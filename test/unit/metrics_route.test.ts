import { type IncomingMessage, request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deflate } from '#collectors/gzip.ts';
import { encode } from '#collectors/text_writer.ts';
import { freeCycle } from '#core/cycle.ts';
import { ApiHost } from '../support/api_host.ts';
import { parseExposition, sampleValue } from '../support/exposition.ts';

/** The server responds to the first spelling without Express. Express handles the other spellings. */
const SPELLINGS = ['/metrics', '/metrics?debug=1', '/metrics/', '/METRICS', 'http://localhost/metrics'];
const TEXT = 'netsonde_tcp_retransmits_total{pod="cart-0"} 12\n'.repeat(20_000);
const KERNEL_TEXT = [TEXT.slice(0, 300_000), TEXT.slice(300_000)].map((text) => Uint8Array.from(encode(text)));

let host: ApiHost;

beforeEach(async () => {
  host = await ApiHost.open();
});
afterEach(() => host[Symbol.asyncDispose]());

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

function ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const [hostname, port] = host.address.split(':');
  return new Promise((resolve, reject) => {
    const call = request({ hostname, port, path, headers, method, agent: false }, async (response) => {
      const body = Buffer.concat(await response.toArray());
      const { date: _, ...rest } = response.headers;
      resolve({ status: response.statusCode, headers: rest, body });
    });
    call.once('error', reject).end();
  });
}

async function give(isCompressed: boolean, ageSeconds = 0): Promise<void> {
  const content = isCompressed ? await deflate(KERNEL_TEXT, freeCycle()) : KERNEL_TEXT;
  host.kernel.agedPage = { page: { content, ledger: [], writtenMs: 1 }, ageSeconds };
}

/** Returns the agent's own metrics. They precede the kernel thread's page, and are always current. */
function ownPart(body: Buffer): string {
  const text = body.toString();
  expect(text.endsWith(TEXT)).toBe(true);
  return text.slice(0, -TEXT.length);
}

describe('in every spelling /metrics', () => {
  it.each<[what: string, headers: Record<string, string>, method: string]>([
    ['is read-only', {}, 'POST'],
    ['refuses a page of another site', { origin: 'http://evil.example' }, 'GET'],
    ['refuses a malformed name', { host: '[127.evil' }, 'GET'],
    ['reports that there is no page', {}, 'GET'],
    ['answers HEAD without a body', {}, 'HEAD'],
  ])('%s', async (_what, headers, method) => {
    const spellings = 'host' in headers ? SPELLINGS.filter((path) => path.startsWith('/')) : SPELLINGS;
    const [first, ...others] = await Promise.all(spellings.map((path) => ask(path, headers, method)));
    expect(first?.status).toBeGreaterThanOrEqual(400);
    expect(first?.headers['content-type']).toBe('application/json; charset=utf-8');
    for (const other of others) expect(other).toEqual(first);
  });

  it('has the page and its headers', async () => {
    await give(false);
    for (const path of SPELLINGS) {
      const { status, headers, body } = await ask(path, { 'x-prometheus-scrape-timeout-seconds': '10' });
      expect(status).toBe(200);
      expect(headers).toEqual({
        'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        'content-length': String(body.length),
        vary: 'Accept, Accept-Encoding',
        connection: 'close',
      });
      expect(ownPart(body)).toContain('netsonde_build_info{');
    }
  });

  it('has headers and no page for HEAD', async () => {
    await give(true);
    for (const path of SPELLINGS) {
      const { status, headers, body } = await ask(path, { 'accept-encoding': 'gzip' }, 'HEAD');
      expect([status, headers['content-encoding'], body.length]).toEqual([200, 'gzip', 0]);
    }
  });
});

it.each([
  ['fresh', 0],
  ['last', 7.5],
])(
  'a %s page is the same text, compressed or not, in whichever form the kernel thread gave it',
  async (_, ageSeconds) => {
    for (const wasCompressed of [false, true]) {
      await give(wasCompressed, ageSeconds);
      const plain = await ask('/metrics');
      const packed = await ask('/metrics', { 'accept-encoding': 'deflate, gzip' });
      expect(packed.headers['content-encoding']).toBe('gzip');
      expect(packed.body.length).toBeLessThan(plain.body.length / 10);
      for (const { headers } of [plain, packed]) expect(headers.age).toBe(ageSeconds === 0 ? undefined : '8');
      for (const body of [plain.body, gunzipSync(packed.body)]) {
        const own = parseExposition(ownPart(body));
        // The age is current, even if the page is old.
        expect(sampleValue(own, 'netsonde_page_age_seconds', {})).toBe(ageSeconds);
        expect(sampleValue(own, 'process_start_time_seconds', {})).toBeGreaterThan(0);
      }
    }
  },
);

it('shows the workload behind a Service while it is known', async () => {
  await give(false);
  const shown = async () =>
    parseExposition(ownPart((await ask('/metrics')).body)).samples.flatMap(({ name, labels, value }) =>
      name === 'netsonde_service_workload_info' ? [{ ...labels, value }] : [],
    );
  const cart = { namespace: 'shop', service: 'cart', workload: 'cart' };
  const db = { namespace: 'data', service: 'db', workload: 'postgres' };
  host.serviceWorkloads = [cart, db];
  expect(await shown()).toEqual([
    { peer_namespace: 'shop', peer: 'cart', workload: 'cart', value: '1' },
    { peer_namespace: 'data', peer: 'db', workload: 'postgres', value: '1' },
  ]);
  host.serviceWorkloads = [db];
  expect(await shown()).toEqual([{ peer_namespace: 'data', peer: 'db', workload: 'postgres', value: '1' }]);
  host.serviceWorkloads = [{ ...db, workload: 'mysql' }];
  expect(await shown()).toEqual([{ peer_namespace: 'data', peer: 'db', workload: 'mysql', value: '1' }]);
});
