import type { Request, Response } from 'express';
import { parseSince } from '#api/events_query.ts';
import type { RequestRecord } from '#api/requests.ts';
import { REQUEST_STREAM_QUERY, type RequestStreamQuery } from '#api/requests_query.ts';
import { parseIp } from '#core/address.ts';
import { parseDuration } from '#core/duration.ts';
import type { RecordBus } from '#events/bus.ts';
import { sendFailure } from './failure.ts';
import { isFailure, readQuery } from './query.ts';
import { recordTimeText, type StreamDeps, serveStream } from './stream.ts';

const NANOSECONDS = 1e-9;

export interface RequestStreamDeps extends StreamDeps {
  readonly requests: RecordBus<RequestRecord>;
}

/** Serves `/api/v1/requests/stream`. */
export function serveRequestStream(deps: RequestStreamDeps, request: Request, response: Response): void {
  const query = readQuery(REQUEST_STREAM_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  serveStream(deps.requests, deps, request, response, {
    last: query.last,
    follow: query.follow,
    hasStart: query.since !== undefined,
    matches: matcherOf(query),
    nameOf: () => 'request',
  });
}

function matcherOf(query: RequestStreamQuery): (record: RequestRecord) => boolean {
  const { namespace, pod, peer, role, port, failed, slow, traceId } = query;
  const since = query.since === undefined ? '' : recordTimeText(parseSince(query.since, Date.now()));
  const seconds = slow === undefined ? 0 : (parseDuration(slow) ?? 0) * NANOSECONDS;
  return (record) =>
    record.time >= since &&
    (namespace === undefined || record.namespace === namespace) &&
    (pod === undefined || record.pod === pod) &&
    (role === undefined || record.role === role) &&
    (port === undefined || record.dstPort === Number(port)) &&
    (failed !== 'true' || record.failed) &&
    record.seconds >= seconds &&
    (traceId === undefined || record.traceId === traceId) &&
    (peer === undefined || isPeer(record, peer));
}

/** @param peer address or name */
function isPeer({ role, src, dst, peer: owner }: RequestRecord, peer: string): boolean {
  const address = role === 'client' ? dst : src;
  const names: readonly (string | undefined)[] = [owner?.name, owner?.workload, owner?.service];
  return address === (parseIp(peer) ?? peer) || names.includes(peer);
}
