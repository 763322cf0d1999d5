import { deepEqual, equal } from 'node:assert/strict';
import { it } from 'vitest';
import {
  httpDetail,
  httpEvent,
  httpLineForm,
  httpMethod,
  httpOutcome,
  httpRole,
  packetTuple,
} from '#bpf/generated/common.ts';
import { grpcDetail, http2End } from '#bpf/generated/http2.ts';
import { METHOD_GRPC } from './grpc_metrics.ts';
import { eventOf, eventTypeOf } from './http_events.ts';
import { decodeReport, pathOf } from './http_report.ts';

const SECOND_NS = 1_000_000_000n;

/** Returns a struct http_event about a request from 10.0.0.1:1000 to 10.0.0.2:80. */
function bytesOf(status: number, line: string, hasLine = true): DataView {
  const bytes = new Uint8Array(httpEvent.SIZE);
  const view = new DataView(bytes.buffer);
  const { detail, tuple, duration, netns, lineForm, line: text } = httpEvent.offsets;
  view.setBigUint64(netns, 7n, true);
  view.setBigUint64(duration, SECOND_NS, true);
  view.setUint16(detail + httpDetail.offsets.status, status, true);
  view.setUint8(detail + httpDetail.offsets.role, httpRole.server);
  view.setUint8(detail + httpDetail.offsets.method, httpMethod.get);
  view.setUint8(lineForm, hasLine ? httpLineForm.request : httpLineForm.none);
  bytes.set(Buffer.from(line.padEnd(64, 'x')).subarray(0, 64), text);
  const { source, destination, sourcePort, destinationPort, protocol, family } = packetTuple.offsets;
  bytes.set([0xff, 0xff, 10, 0, 0, 1], tuple + source + 10);
  bytes.set([0xff, 0xff, 10, 0, 0, 2], tuple + destination + 10);
  view.setUint16(tuple + sourcePort, 1_000, true);
  view.setUint16(tuple + destinationPort, 80, true);
  view.setUint8(tuple + protocol, 6);
  view.setUint8(tuple + family, 4);
  return view;
}

it('reports failed requests and slow ones', () => {
  const failed = decodeReport(bytesOf(503, 'GET /users/17?token=1 HTTP/1.1\r\nCookie: secret'), 0, 5n, true);
  equal(eventTypeOf(failed), 'http_request_failed');
  deepEqual(eventOf(failed), {
    timeNs: 5n,
    src: '10.0.0.1:1000',
    dst: '10.0.0.2:80',
    protocol: 'tcp',
    fields: { role: 'server', method: 'GET', path: '/users/*', status: '503', seconds: 1 },
    message:
      'The HTTP request GET /users/* from 10.0.0.1:1000 to 10.0.0.2:80 was answered with the status 503 after 1 s.',
  });
  equal(eventTypeOf(decodeReport(bytesOf(200, 'GET / HTTP/1.1\r\n'), 0, 5n, true)), 'http_request_slow');
  const none = decodeReport(bytesOf(httpOutcome.none, 'GET / HTTP/1.1\r\n'), 0, 5n, true);
  deepEqual([eventTypeOf(none), eventOf(none).fields.status], ['http_request_failed', 'none']);
});

it('omits a path that is not known or must not be shown', () => {
  for (const [hasLine, showsPath] of [
    [false, true],
    [true, false],
  ] as const) {
    const { fields, message } = eventOf(
      decodeReport(bytesOf(500, 'GET /secret HTTP/1.1\r\n', hasLine), 0, 5n, showsPath),
    );
    equal('path' in fields, false);
    equal(message.includes('secret'), false);
  }
});

it('takes the path from the first line only', () => {
  equal(pathOf('GET /cart HTTP/1.1\r\nHost: shop'), '/cart');
  equal(pathOf('GET /cart'), '/*');
  equal(pathOf('GET /cart/'), '/cart/*');
  equal(pathOf('OPTIONS * HTTP/1.1\r\n'), '*');
  equal(pathOf('GET'), undefined);
});

/** Returns a struct http_event about a request of HTTP/2 or a call. @param path hexadecimal, in the Huffman code */
function ofHttp2(end: keyof typeof http2End, path: string, write: (view: DataView, detail: number) => void): DataView {
  const view = bytesOf(0, '');
  const { lineForm, lineBytes, line, end: at, method, detail } = httpEvent.offsets;
  const bytes = Buffer.from(path, 'hex');
  view.setUint8(lineForm, httpLineForm.huffman);
  view.setUint8(lineBytes, bytes.length);
  new Uint8Array(view.buffer).set(bytes, line);
  view.setUint8(at, http2End[end]);
  view.setUint8(method, httpMethod.post);
  write(view, detail);
  return view;
}

/** `/a/1` in the Huffman code. */
const PATH = '606c07';

it('reports streams that were reset, and calls of gRPC by their code', () => {
  const reset = ofHttp2('cancelled', PATH, (view, detail) =>
    view.setUint16(detail + httpDetail.offsets.status, httpOutcome.reset, true),
  );
  const { fields, message } = eventOf(decodeReport(reset, 0, 5n, true));
  deepEqual(fields, { role: 'server', method: 'GET', path: '/a/*', status: 'reset', seconds: 1 });
  equal(message, 'The HTTP request GET /a/* from 10.0.0.1:1000 to 10.0.0.2:80 was cancelled by the client after 1 s.');
  const call = ofHttp2('complete', PATH, (view, detail) => {
    view.setUint16(httpEvent.offsets.status, 200, true);
    view.setUint8(detail + grpcDetail.offsets.code, 14);
    view.setUint8(detail + grpcDetail.offsets.role, httpRole.server);
    view.setUint8(detail + grpcDetail.offsets.method, METHOD_GRPC);
    view.setUint32(detail + grpcDetail.offsets.name, 9, true);
  });
  const report = decodeReport(call, 0, 5n, true);
  equal(eventTypeOf(report), 'http_request_failed');
  deepEqual(eventOf(report), {
    ...eventOf(decodeReport(bytesOf(200, ''), 0, 5n, true)),
    fields: { role: 'server', method: 'POST', path: '/a/1', status: '200', grpcCode: 'UNAVAILABLE', seconds: 1 },
    message: 'The gRPC call /a/1 from 10.0.0.1:1000 to 10.0.0.2:80 was answered with UNAVAILABLE after 1 s.',
  });
  call.setUint8(httpEvent.offsets.lineForm, httpLineForm.none);
  equal(decodeReport(call, 0, 5n, true, (name) => `/name/${name}`).path, '/name/9');
  equal(decodeReport(call, 0, 5n, false, (name) => `/name/${name}`).path, undefined);
});
