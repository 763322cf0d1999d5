import type { Request, Response } from 'express';
import { parseSince } from '#api/events_query.ts';
import type { FlowRecord } from '#api/flows.ts';
import { FLOW_STREAM_QUERY, FLOWS_LIMIT, FLOWS_QUERY, type FlowsQuery } from '#api/flows_query.ts';
import type { FlowRole } from '#api/words.ts';
import { parseIp } from '#core/address.ts';
import type { RecordBus } from '#events/bus.ts';
import type { FlowSelection, FlowsAnswer, NoFlows } from '#kernel/flows.ts';
import { sendFailure } from './failure.ts';
import { isFailure, readQuery } from './query.ts';
import { recordTimeText, type StreamDeps, serveStream } from './stream.ts';

/** Serves `/api/v1/flows`. @param ask sends the request to the kernel thread */
export async function serveFlows(
  ask: (selection: FlowSelection) => Promise<FlowsAnswer>,
  request: Request,
  response: Response,
): Promise<void> {
  const query = readQuery(FLOWS_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  const limit = query.limit === undefined ? FLOWS_LIMIT : Number(query.limit);
  const answer = await ask({ ...selectionOf(query), limit });
  if ('unavailable' in answer) sendNoFlows(response, answer);
  else response.json(answer.report);
}

/** Sends the response of routes that need totals of connections when there are none. */
export function sendNoFlows(response: Response, { unavailable, isTransient }: NoFlows): void {
  sendFailure(response, isTransient ? 503 : 409, unavailable);
}

export interface FlowStreamDeps extends StreamDeps {
  readonly flows: RecordBus<FlowRecord>;
}

/** Serves `/api/v1/flows/stream`. */
export function serveFlowStream(deps: FlowStreamDeps, request: Request, response: Response): void {
  const query = readQuery(FLOW_STREAM_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  const selection = selectionOf(query);
  const since = query.since === undefined ? undefined : recordTimeText(parseSince(query.since, Date.now()));
  serveStream(deps.flows, deps, request, response, {
    last: query.last,
    follow: query.follow,
    hasStart: since !== undefined,
    matches: (record) => (since === undefined || record.time >= since) && matchesRecord(record, selection),
    nameOf: () => 'flow',
  });
}

type RecordSelection = Omit<FlowSelection, 'limit'>;

function selectionOf({ namespace, pod, peer, port, role, failed }: Omit<FlowsQuery, 'limit'>): RecordSelection {
  return {
    namespace,
    pod,
    peer: peer === undefined ? undefined : parseIp(peer),
    port: port === undefined ? undefined : Number(port),
    role: role as FlowRole | undefined,
    failed: failed === 'true',
  };
}

function matchesRecord(record: FlowRecord, { namespace, pod, peer, port, role, failed }: RecordSelection): boolean {
  return (
    (namespace === undefined || record.namespace === namespace) &&
    (pod === undefined || record.pod === pod) &&
    (peer === undefined || (record.role === 'client' ? record.dst : record.src) === peer) &&
    (port === undefined || record.dstPort === port) &&
    (role === undefined || record.role === role) &&
    (!failed || record.failed)
  );
}
