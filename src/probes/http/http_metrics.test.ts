import { deepEqual, equal } from 'node:assert/strict';
import { it } from 'vitest';
import { histogram, httpCause, httpMethod, httpOutcome, httpRole, httpRow } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import type { Emit } from '#probe/metric.ts';
import type { PlaceRow } from '#probe/place_rows.ts';
import { emitHttp, HTTP_METRICS, methodName, openRequests, statusName } from './http_metrics.ts';

const POD = asNetnsId(7);

interface Kind {
  readonly status: number;
  readonly method?: keyof typeof httpMethod;
  readonly role?: keyof typeof httpRole;
  readonly cause?: keyof typeof httpCause;
}

/** Returns a row of the kernel. @param bucket kernel's bucket of all durations; undefined for no durations */
function rowOf({ status, method = 'get', role = 'server', cause = 'nothing' }: Kind, count: number, bucket?: number) {
  const words: Counter[] = new Array<Counter>(httpRow.SIZE / 8).fill(0);
  words[0] = count;
  if (bucket !== undefined) {
    words[(httpRow.offsets.durations + histogram.offsets.sum) / 8] = count * 1_000_000_000;
    words[(httpRow.offsets.durations + histogram.offsets.counts) / 8 + bucket] = count;
  }
  const detail = status | (httpRole[role] << 16) | (httpMethod[method] << 24);
  return { subject: POD, detail: detail + httpCause[cause] * 2 ** 32, words } satisfies PlaceRow;
}

/** Returns the samples, by the name of the metric and the values of the labels. */
function samplesOf(rows: readonly PlaceRow[], left = openRequests([])): Readonly<Record<string, unknown>> {
  const samples: Record<string, unknown> = {};
  const emit = (metric: string, subject: unknown, value: unknown, labels: Readonly<Record<string, string>>) => {
    equal(subject, POD);
    const key = [metric, ...Object.values(labels)].join(' ');
    equal(key in samples, false, `${key} was emitted twice`);
    samples[key] = value;
  };
  emitHttp(emit as unknown as Emit<typeof HTTP_METRICS>, rows, left);
  return samples;
}

it('sums rows by class, code, result and cause', () => {
  const {
    'durations server ok': ok,
    'durations server error': error,
    ...others
  } = samplesOf([
    rowOf({ status: httpOutcome.begun }, 20),
    rowOf({ status: 200 }, 5, 10),
    rowOf({ status: 204 }, 3, 11),
    rowOf({ status: 404, method: 'head' }, 1, 0),
    rowOf({ status: 503, method: 'post' }, 2, 25),
    rowOf({ status: httpOutcome.none }, 4),
    rowOf({ status: httpOutcome.unknown, cause: 'reordered' }, 1),
    rowOf({ status: httpOutcome.stray, method: 'other', cause: 'reordered' }, 6),
    rowOf({ status: httpOutcome.given_up, method: 'other' }, 8),
  ]);
  deepEqual(others, {
    'requests server 1 GET 2xx': 8,
    'requests server 1 HEAD 4xx': 1,
    'requests server 1 POST 5xx': 2,
    'requests server 1 GET none': 4,
    'requests server 1 GET unknown': 1,
    'responses server GET 200': 5,
    'responses server GET 204': 3,
    'responses server HEAD 404': 1,
    'responses server POST 503': 2,
    'open server': 4,
    'unknown server reordered': 7,
    'givenUp server': 8,
  });
  // The kernel's buckets 9 and 10 end at 512 µs and 1.024 ms, and bucket 25 has no bound.
  deepEqual(ok, { counts: [1, 5, 3, 0, 0, 0, 0, 0, 0, 0], sum: 9 });
  deepEqual(error, { counts: [0, 0, 0, 0, 0, 0, 0, 0, 0, 2], sum: 2 });
});

it('has a bound at each shown bucket', () => {
  const bounds = HTTP_METRICS.durations.buckets;
  equal(bounds[1], 2 ** 10 / 1e6);
  equal(bounds.at(-1), 2 ** 24 / 1e6);
});

it('does not show requests as open that were open when the probe was switched off', () => {
  const before = [rowOf({ status: httpOutcome.begun }, 9), rowOf({ status: 200 }, 6, 3)];
  const left = openRequests(before);
  equal(samplesOf(before, left)['open server'], 0);
  equal(samplesOf([rowOf({ status: httpOutcome.begun }, 11), rowOf({ status: 200 }, 7, 3)], left)['open server'], 1);
});

it('names methods and statuses', () => {
  equal(methodName(httpMethod.patch), 'PATCH');
  equal(methodName(httpMethod.other), 'other');
  equal(methodName(99), 'other');
  equal(statusName(101), '1xx');
  equal(statusName(httpOutcome.none), 'none');
  equal(statusName(httpOutcome.begun), undefined);
  equal(statusName(httpOutcome.stray), undefined);
});
