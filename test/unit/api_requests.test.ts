import { afterEach, beforeEach, expect, it } from 'vitest';
import { REQUEST_RECORD, type RequestRecord } from '#api/requests.ts';
import { showRequests } from '#commands/requests.ts';
import { REQUEST_METADATA } from '#core/record_kinds.ts';
import { REQUEST_KIND } from '#events/request_kind.ts';
import { ApiHost } from '../support/api_host.ts';
import { failedRequest } from '../support/request_lines.ts';

const STREAM = '/api/v1/requests/stream';
const FAILED = failedRequest();
const TRACE = FAILED.traceId;

const SLOW: RequestRecord = {
  ...FAILED,
  time: '2026-01-01T00:00:01.000000000Z',
  namespace: 'bank',
  pod: 'web-0',
  role: 'server',
  src: 'fd00::1',
  status: 200,
  failed: false,
  seconds: 2,
  networkSeconds: null,
  traceId: null,
  message: 'second',
};
const NONE: RequestRecord = { ...FAILED, time: '2026-01-01T00:00:02.000000000Z', path: null, status: null };
const ALL = [FAILED, SLOW, NONE];

let host: ApiHost;

beforeEach(async () => {
  host = await ApiHost.open();
  host.requests.publish(ALL);
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
});

it.each([
  ['', [0, 1, 2]],
  ['&failed=true', [0, 2]],
  ['&slow=1s', [1]],
  ['&role=server', [1]],
  ['&pod=cart-0&namespace=shop', [0, 2]],
  ['&peer=10.0.0.7', [0, 2]],
  ['&port=80', [0, 1, 2]],
  ['&port=81', []],
  ['&peer=FD00::0:1', [1]],
  ['&peer=web-0', [0, 1, 2]],
  ['&peer=web', [0, 1, 2]],
  ['&peer=cart', []],
  [`&traceId=${TRACE}`, [0, 2]],
  ['&last=1', [2]],
  ['&since=2026-01-01T00:00:01Z', [1, 2]],
])('the stream of past records with %s', async (query, indices) => {
  const headers = { accept: 'application/x-ndjson' };
  const text = await (await host.fetch(`${STREAM}?follow=false${query}`, { headers })).text();
  const lines = text.split('\n').filter((line) => line !== '');
  const found = lines.map((line) => REQUEST_RECORD.parse(JSON.parse(line)).time);
  expect(found).toEqual(indices.map((index) => ALL[index]?.time));
});

it.each([
  ['?slow=fast', 'slow: fast is not a duration; give one like 200ms'],
  ['?failed=1', 'failed: 1 is neither true nor false'],
  ['?peer=a&peer=b', 'peer is given more than once; give it once'],
  ['?port=0', 'port: 0 is not a port; give a number from 1 to 65535'],
  ['?code=1', 'no such parameter: code'],
])('%s is refused with field, value and remedy', async (query, words) => {
  const response = await host.fetch(`${STREAM}${query}`);
  expect(response.status).toBe(400);
  expect(((await response.json()) as { error: string }).error).toContain(words);
});

it('the command shows each request as a line, without text that attacks a terminal', async () => {
  let text = '';
  const query = { pod: 'cart-0', follow: 'false' };
  const print = (part: string) => {
    text += part;
  };
  const { signal } = new AbortController();
  await showRequests({ url: `http://${host.address}`, query, output: 'text' }, print, signal);
  expect(text.split('\n').slice(0, 1)).toEqual([
    `2026-01-01T00:00:00.000Z warning shop/cart-0: first\\u{1b} 1 ms of it on the network. Trace ${TRACE}.`,
  ]);
});

it('has few labels for a stream, the rest as metadata, and comes back from a spool', () => {
  const record = REQUEST_KIND.toRecord(FAILED);
  expect(record).toMatchObject({
    kind: 'request',
    severity: 'warning',
    stream: { node: 'n1', probe: 'http', type: 'request', namespace: 'shop' },
    metadata: { src: '10.0.0.1:1000', dst: '10.0.0.7:80', path: '/cart/*', status: '503', traceId: TRACE },
  });
  expect(REQUEST_METADATA).toEqual(expect.arrayContaining(Object.keys(record.metadata)));
  expect(REQUEST_KIND.toRecord(NONE).metadata['status']).toBe('none');
  expect(REQUEST_KIND.restore(REQUEST_KIND.version, record.json)).toEqual(record);
  expect(REQUEST_KIND.restore(REQUEST_KIND.version + 1, record.json)).toBeUndefined();
  expect(() => REQUEST_KIND.restore(REQUEST_KIND.version, '{}')).toThrow('a request has a method');
});
