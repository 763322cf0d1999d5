import type { ServerResponse } from 'node:http';
import type { Failure } from '#api/errors.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/** Formats an answer that closes the connection, for a connection that does not speak HTTP yet, or no longer. @param status number and phrase */
export function rawAnswer(status: string, error: string): string {
  const body = JSON.stringify({ error } satisfies Failure);
  const head = [
    `HTTP/1.1 ${status}`,
    `Content-Type: ${JSON_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  return [...head, '', body].join('\r\n');
}

/** Seconds after which a retry is worthwhile. */
const RETRY_AFTER = '1';

/** Sends an answer that describes the fault; for a transient fault it says when to retry. */
export function sendFailure(response: ServerResponse, status: number, error: string): void {
  const body = JSON.stringify({ error } satisfies Failure);
  if (status === 503) response.setHeader('Retry-After', RETRY_AFTER);
  response.setHeader('Content-Type', JSON_TYPE);
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.statusCode = status;
  response.end(body);
}
