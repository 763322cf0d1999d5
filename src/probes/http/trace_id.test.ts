import { equal } from 'node:assert/strict';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { httpTrace, httpTraceForm, httpTraceKind } from '#bpf/generated/common.ts';
import { readTraceId, traceIdOf } from './trace_id.ts';

const W3C = '4bf92f3577b34da6a3ce929d0e0e4736';
const KINDS = Object.keys(httpTraceKind) as (keyof typeof httpTraceKind)[];

it('reads the ID of W3C Trace Context', () => {
  equal(traceIdOf('parent', `00-${W3C}-00f067aa0ba902b7-01`), W3C);
  equal(traceIdOf('parent', `01-${W3C.toUpperCase()}-00f067aa0ba902b7-01-later`), W3C);
  for (const bad of [
    `ff-${W3C}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${W3C}-00f067aa0ba902b7`,
    `00-${W3C.slice(1)}g-00f067aa0ba902b7-01`,
    '',
  ]) {
    equal(traceIdOf('parent', bad), undefined, bad);
  }
});

it('reads the IDs of B3, SkyWalking and proxies', () => {
  equal(traceIdOf('b3', '80f198ee56343ba8-e457b5a2e4d86bd1-1'), '80f198ee56343ba8');
  equal(traceIdOf('b3', `${W3C}-e457b5a2e4d86bd1-1`), W3C);
  equal(traceIdOf('b3', W3C), W3C);
  equal(traceIdOf('b3', '0'), undefined);
  const id = 'd5980a81ca5a4b5a8f7c1a1e7c6e7e9a.44.16123456789010001';
  equal(traceIdOf('sw8', `1-${Buffer.from(id).toString('base64')}-c2VnbWVudA==-3-`), id);
  equal(traceIdOf('sw8', `1-${Buffer.from('a\nb').toString('base64')}-c2VnbWVudA==-3-`), undefined);
  equal(traceIdOf('request_id', 'f47ac10b-58cc-4372-a567-0e02b2c3d479'), 'f47ac10b-58cc-4372-a567-0e02b2c3d479');
  for (const bad of ['a b', 'a"} 1 # x', '\u001b[31m', 'a'.repeat(97), ''])
    equal(traceIdOf('request_id', bad), undefined);
});

it('never returns characters that mean something elsewhere', () => {
  fc.assert(
    fc.property(fc.constantFrom(...KINDS), fc.string({ unit: 'binary' }), (kind, text) => {
      const id = traceIdOf(kind, text);
      if (id !== undefined) expect(id).toMatch(/^[\w.+/=:@~-]{1,96}$/);
    }),
  );
});

/** Returns a struct http_trace with a header as the kernel keeps it. */
function traceOf(
  kind: keyof typeof httpTraceKind,
  skip: number,
  text: string,
  form: keyof typeof httpTraceForm = 'line',
): DataView {
  const bytes = new Uint8Array(httpTrace.SIZE);
  bytes[httpTrace.offsets.form] = httpTraceForm[form];
  const { kind: at, skip: skipped, bytes: length, text: into } = httpTrace.offsets;
  bytes[at] = httpTraceKind[kind];
  bytes[skipped] = skip;
  bytes[length] = Math.min(text.length, httpTrace.SIZE - into);
  bytes.set(Buffer.from(text, 'latin1').subarray(0, bytes[length]), into);
  return new DataView(bytes.buffer);
}

it('reads a header only up to its end', () => {
  const line = `traceparent: 00-${W3C}-00f067aa0ba902b7-01\r\n`;
  equal(readTraceId(traceOf('parent', 12, `${line}Cookie: a`), 0), W3C);
  equal(readTraceId(traceOf('request_id', 13, 'X-Request-ID:\t7 \nCookie: a'), 0), '7');
  equal(readTraceId(traceOf('request_id', 13, `X-Request-ID: ${'a'.repeat(98)}`), 0), undefined);
  equal(readTraceId(traceOf('request_id', 13, 'X-Request-ID:\r\nb3: a'), 0), undefined);
  equal(
    readTraceId(traceOf('sw8', 4, `sw8: 1-${Buffer.from('trace').toString('base64')}-c2Vn${'x'.repeat(80)}`), 0),
    'trace',
  );
});

it('reads the values of headers of HTTP/2', () => {
  const parent = `00-${W3C}-00f067aa0ba902b7-01`;
  equal(readTraceId(traceOf('parent', 0, parent, 'value'), 0), W3C);
  // The Huffman code of `0-`, and that of an ID of B3 with what follows, of which the end is missing.
  const b3 = '6a395f14acb6ebb1b2d483706c90af89f9005015a759716036564647c6d4ae1598df02';
  equal(readTraceId(traceOf('b3', 0, Buffer.from(b3, 'hex').toString('latin1'), 'huffman'), 0), W3C);
  equal(readTraceId(traceOf('request_id', 0, '\x02\xdf', 'huffman'), 0), '0-');
  equal(readTraceId(traceOf('b3', 0, `${W3C}-05e3ac9a4f6e3b90-1`.slice(0, 56), 'value'), 0), W3C);
  equal(readTraceId(traceOf('parent', 0, '\xff\xff\xff\xff', 'huffman'), 0), undefined);
});
