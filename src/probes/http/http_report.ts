import type { RequestCause } from '#api/requests.ts';
import { httpConsumer, httpDetail, httpEvent, httpLineForm, httpOutcome, httpRole } from '#bpf/generated/common.ts';
import { grpcDetail, http2End } from '#bpf/generated/http2.ts';
import { nameOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import { formatDuration } from '#core/duration.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { decodeTuple } from '#probe/scene.ts';
import { decodeHuffman } from '#sources/l7/huffman.ts';
import { type Code, codeName, isFailedCall, METHOD_GRPC } from './grpc_metrics.ts';
import { type Method, methodName } from './http_metrics.ts';
import { pathTemplate } from './path_template.ts';
import { readTraceId } from './trace_id.ts';

const NANOSECONDS = 1e-9;
const SERVER_ERROR = 500;
const MORE = '…';

/** By the way in which a stream of HTTP/2 ended. */
const CAUSES: Readonly<Partial<Record<keyof typeof http2End, RequestCause>>> = {
  reset: 'server_reset',
  cancelled: 'client_reset',
  goaway: 'goaway',
  none: 'closed',
};

/** A request that the kernel has reported, as one of its ends saw it. */
export interface HttpReport {
  /** Time of the response, or of the end of the connection, in nanoseconds since the epoch. */
  readonly timeNs: bigint;
  readonly netns: NetnsId;
  /** ID of the socket's cgroup if it is in the node's namespace; otherwise 0. */
  readonly cgroup: Counter;
  /** For an event, for a record, or both. */
  readonly isEvent: boolean;
  readonly isRecord: boolean;
  /** Whether the record was selected at random. */
  readonly isDrawn: boolean;
  readonly role: keyof typeof httpRole;
  readonly method: Method;
  /** Template of the path, or the method of gRPC; undefined if it is unknown or must not be shown. */
  readonly path: string | undefined;
  /** Code of the status; undefined if there was no response. */
  readonly status: number | undefined;
  /** Code of a call of gRPC; undefined for other requests. */
  readonly grpcCode: Code | undefined;
  /** Why the request or the call got no complete response; undefined if it got one. */
  readonly cause: RequestCause | undefined;
  readonly failed: boolean;
  readonly seconds: number;
  /** The same as measured at the server; undefined if the server is not on this node, or if this is its report. */
  readonly serverSeconds: number | undefined;
  readonly traceId: string | undefined;
  /** Addresses and ports of the client and of the server. */
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: string;
}

/** Returns the template of the path in a request line, whose end may be missing; undefined if there is none. */
export function pathOf(line: string): string | undefined {
  const [first = '', ...others] = line.split('\n');
  const [, target, ...rest] = first.split(' ');
  return target === undefined ? undefined : pathTemplate(target, rest.length === 0 && others.length === 0);
}

/** Returns the path of a report, or the method of gRPC. */
function reportedPath(view: DataView, at: number, isCall: boolean): string | undefined {
  const form = httpEvent.lineForm(view, at);
  const bytes = httpEvent.line(view, at);
  if (form === httpLineForm.request) return pathOf(Buffer.from(bytes).toString('latin1'));
  if (form === httpLineForm.none) return undefined;
  const text = bytes.subarray(0, httpEvent.lineBytes(view, at));
  const isCut = httpEvent.isLineCut(view, at) !== 0;
  const path = form === httpLineForm.huffman ? decodeHuffman(text, isCut) : Buffer.from(text).toString('latin1');
  if (path === undefined) return undefined;
  return isCall ? `${path}${isCut ? MORE : ''}` : pathTemplate(path, isCut);
}

interface Outcome extends Pick<HttpReport, 'method' | 'status' | 'grpcCode' | 'cause' | 'failed'> {
  /** Hash of the method of gRPC. */
  readonly name?: number;
}

/** Decodes how a request ended. */
function outcomeOf(view: DataView, at: number): Outcome {
  const place = at + httpEvent.offsets.detail;
  const cause = CAUSES[nameOf(http2End, httpEvent.end(view, at)) ?? 'complete'];
  if (httpDetail.method(view, place) === METHOD_GRPC) {
    const status = httpEvent.status(view, at);
    const grpcCode = codeName(grpcDetail.code(view, place));
    return {
      method: methodName(httpEvent.method(view, at)),
      status: status === 0 ? undefined : status,
      grpcCode,
      cause,
      failed: isFailedCall(grpcCode),
      name: grpcDetail.name(view, place),
    };
  }
  const status = httpDetail.status(view, place);
  const isAnswered = status >= 100;
  return {
    method: methodName(httpDetail.method(view, place)),
    status: isAnswered ? status : undefined,
    grpcCode: undefined,
    cause: cause ?? (status === httpOutcome.none ? 'closed' : undefined),
    failed: !isAnswered || status >= SERVER_ERROR,
  };
}

/**
 * Decodes a struct http_event.
 * @param showsPath whether the path may be shown
 * @param methodOf returns the method of gRPC with a hash; undefined if it is not known
 */
export function decodeReport(
  view: DataView,
  at: number,
  timeNs: bigint,
  showsPath: boolean,
  methodOf: (name: number) => string | undefined = () => undefined,
): HttpReport {
  const { detail, tuple, trace } = httpEvent.offsets;
  const consumers = httpEvent.consumers(view, at);
  const serverSeconds = Number(httpEvent.serverDuration(view, at)) * NANOSECONDS;
  const { name, ...outcome } = outcomeOf(view, at);
  const path = showsPath ? reportedPath(view, at, name !== undefined) : undefined;
  return {
    timeNs,
    netns: asNetnsId(httpEvent.netns(view, at)),
    cgroup: httpEvent.cgroup(view, at),
    isEvent: (consumers & httpConsumer.event) !== 0,
    isRecord: (consumers & httpConsumer.record) !== 0,
    isDrawn: (consumers & httpConsumer.drawn) !== 0,
    role: nameOf(httpRole, httpDetail.role(view, at + detail)) ?? 'client',
    ...outcome,
    path: showsPath && path === undefined && name !== undefined ? methodOf(name) : path,
    seconds: Number(httpEvent.duration(view, at)) * NANOSECONDS,
    serverSeconds: serverSeconds === 0 ? undefined : serverSeconds,
    traceId: httpEvent.hasTrace(view, at) === 0 ? undefined : readTraceId(view, at + trace),
    ...decodeTuple(view, at + tuple),
  };
}

const NANOSECONDS_PER_SECOND = 1e9;

const ENDINGS: Readonly<Record<RequestCause, string>> = {
  closed: 'got no response',
  goaway: 'was refused by a server that is shutting down the connection',
  client_reset: 'was cancelled by the client',
  server_reset: 'was reset by the server',
};

/** Returns the request as a sentence. */
export function describeReport(report: HttpReport): string {
  const { method, path, src, dst, status, grpcCode, cause, seconds } = report;
  const what = `${grpcCode === undefined ? 'HTTP request' : 'gRPC call'} ${grpcCode === undefined || path === undefined ? method : ''}`;
  const name = [what.trim(), ...(path === undefined ? [] : [path]), `from ${src} to ${dst}`].join(' ');
  const answered = grpcCode === undefined ? `the status ${status}` : grpcCode;
  const outcome = cause === undefined ? `was answered with ${answered}` : ENDINGS[cause];
  return `The ${name} ${outcome} after ${formatDuration(Math.round(seconds * NANOSECONDS_PER_SECOND))}.`;
}
