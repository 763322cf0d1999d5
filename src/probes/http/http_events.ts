import { defineEvents, type EventBody } from '#probe/event.ts';
import { describeReport, type HttpReport } from './http_report.ts';

const fields = {
  role: { type: 'string', help: 'Role of the Pod: client or server.' },
  method: { type: 'string', help: 'Method of the request.' },
  path: {
    type: 'string',
    private: 'paths',
    help: 'Path without the query, in which segments that look like identifiers are replaced by `*`, or the method of a gRPC call. Omitted if it is unknown, for example because several requests were open on a connection of HTTP/1.x, or if the option `paths` is off.',
    optional: true,
  },
  status: {
    type: 'string',
    help: 'Status code; `none` if there was no response, `reset` if one end has reset the stream (HTTP/2).',
  },
  grpcCode: {
    type: 'string',
    help: 'Code of a gRPC call by its name, such as `UNAVAILABLE`; `none` or `reset` if it ended without one. Omitted for other requests.',
    optional: true,
  },
  seconds: {
    type: 'number',
    help: 'Time from the first byte of the request to the first byte of the response or, without a response, to the end of the connection or of the stream.',
  },
  traceId: {
    type: 'string',
    private: 'traces',
    help: 'ID of the trace from the headers of the request: `traceparent`, else `b3` or `X-B3-TraceId`, else `sw8`, else `X-Request-ID`. Omitted if there is none, or if several requests were open on the connection.',
    optional: true,
  },
} as const;

const equalBy = ['role', 'method', 'path', 'status', 'grpcCode'] as const;

export const HTTP_EVENTS = defineEvents({
  http_request_failed: {
    help: 'A server answered an HTTP request with a status code from 500 to 599, a gRPC call with a code that stands for an error of the server, or one of them not at all.',
    severity: 'warning',
    equalBy,
    client: () => 'src',
    fields,
  },
  http_request_slow: {
    help: 'An HTTP request took longer than the option `slow` allows.',
    severity: 'warning',
    equalBy,
    client: () => 'src',
    fields,
  },
});

export type HttpEventType = keyof typeof HTTP_EVENTS;

export function eventTypeOf({ failed }: HttpReport): HttpEventType {
  return failed ? 'http_request_failed' : 'http_request_slow';
}

function statusOf({ status, cause }: HttpReport): string {
  if (status !== undefined) return String(status);
  return cause === undefined || cause === 'closed' ? 'none' : 'reset';
}

/** Returns the event about a request. */
export function eventOf(report: HttpReport): Omit<EventBody<(typeof HTTP_EVENTS)[HttpEventType]>, 'netns'> {
  const { timeNs, src, dst, protocol, role, method, path, grpcCode, seconds, traceId } = report;
  return {
    timeNs,
    ...(src === undefined ? {} : { src }),
    ...(dst === undefined ? {} : { dst }),
    ...(protocol === undefined ? {} : { protocol }),
    fields: {
      role,
      method,
      ...(path === undefined ? {} : { path }),
      status: statusOf(report),
      ...(grpcCode === undefined ? {} : { grpcCode }),
      seconds,
      ...(traceId === undefined ? {} : { traceId }),
    },
    message: describeReport(report),
  };
}
