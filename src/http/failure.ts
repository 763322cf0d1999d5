import type { ServerResponse } from 'node:http';
import type { Failure } from '#api/errors.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * Returns the raw text of an HTTP response that closes the connection, for connections without a `ServerResponse`.
 * @param status status code and reason phrase
 */
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

/** Seconds after which clients should retry. */
const RETRY_AFTER = '1';

/** Sends an error response. A 503 tells the client when to retry. */
export function sendFailure(response: ServerResponse, status: number, error: string): void {
  const body = JSON.stringify({ error } satisfies Failure);
  if (status === 503) response.setHeader('Retry-After', RETRY_AFTER);
  response.setHeader('Content-Type', JSON_TYPE);
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.statusCode = status;
  response.end(body);
}
