import { deepEqual, equal } from 'node:assert/strict';
import { it } from 'vitest';
import { histogram, httpCause, httpRole, httpRow } from '#bpf/generated/common.ts';
import { grpcDetail, grpcOutcome } from '#bpf/generated/http2.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Emit } from '#probe/metric.ts';
import type { PlaceRow } from '#probe/place_rows.ts';
import { codeName, countsCalls, emitCalls, type GRPC_METRICS } from './grpc_metrics.ts';
import { emitHttp, type HTTP_METRICS, openRequests } from './http_metrics.ts';

const POD = asNetnsId(7);
const GET = 1;

/** Returns a row of the kernel. @param bucket kernel's bucket of all durations; undefined for no durations */
function rowOf(
  code: number,
  name: number,
  count: number,
  bucket?: number,
  cause: number = httpCause.nothing,
): PlaceRow {
  const words: Counter[] = new Array<Counter>(httpRow.SIZE / 8).fill(0);
  words[0] = count;
  if (bucket !== undefined) {
    words[(httpRow.offsets.durations + histogram.offsets.sum) / 8] = count * 1_000_000_000;
    words[(httpRow.offsets.durations + histogram.offsets.counts) / 8 + bucket] = count;
  }
  const view = new DataView(new ArrayBuffer(grpcDetail.SIZE));
  view.setUint8(grpcDetail.offsets.code, code);
  view.setUint8(grpcDetail.offsets.cause, cause);
  view.setUint8(grpcDetail.offsets.role, httpRole.server);
  view.setUint8(grpcDetail.offsets.method, 0xff);
  view.setUint32(grpcDetail.offsets.name, name, true);
  return { subject: POD, detail: view.getBigUint64(0, true), words };
}

it('names methods and codes, and sums those without a name', () => {
  const samples: Record<string, unknown> = {};
  const emit = (metric: string, subject: unknown, value: unknown, labels: Readonly<Record<string, string>>) => {
    equal(subject, POD);
    samples[[metric, ...Object.values(labels)].join(' ')] = value;
  };
  const rows = [
    rowOf(0, GET, 5, 10),
    rowOf(14, GET, 2, 10),
    rowOf(0, 0, 3, 11),
    rowOf(0, 0xffff_fff0, 1, 11),
    rowOf(grpcOutcome.reset, GET, 4),
    rowOf(grpcOutcome.unseen, GET, 6, undefined, httpCause.late),
  ];
  emitCalls(emit as unknown as Emit<typeof GRPC_METRICS>, rows, (name) =>
    name === GET ? '/shop.Cart/Get' : undefined,
  );
  deepEqual(samples, {
    'calls server /shop.Cart/Get OK': 5,
    'calls server /shop.Cart/Get UNAVAILABLE': 2,
    'calls server * OK': 4,
    'calls server /shop.Cart/Get reset': 4,
    'calls server /shop.Cart/Get unseen': 6,
    'callDurations server': { counts: [0, 7, 4, 0, 0, 0, 0, 0, 0, 0], sum: 11 },
    'unseen server late': 6,
  });
});

it('counts no call as a request', () => {
  const rows = [rowOf(0, GET, 5, 10)];
  equal(rows.every(countsCalls), true);
  const emit = () => equal(true, false);
  emitHttp(emit as unknown as Emit<typeof HTTP_METRICS>, rows, openRequests(rows));
});

it('names codes that do not exist as clients do', () => {
  equal(codeName(0), 'OK');
  equal(codeName(16), 'UNAUTHENTICATED');
  equal(codeName(grpcOutcome.none), 'none');
  equal(codeName(99), 'UNKNOWN');
});
