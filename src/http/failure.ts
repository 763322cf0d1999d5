import type { Response } from 'express';
import type { Failure } from '#api/errors.ts';

/** An answer that closes the connection, for one that nobody speaks HTTP on yet, or no longer. @param status number and phrase */
export function rawAnswer(status: string, error: string): string {
  const body = JSON.stringify({ error } satisfies Failure);
  const head = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  return [...head, '', body].join('\r\n');
}

/** Seconds after which it is worth asking again. */
const RETRY_AFTER = '1';

/** An answer that says what is wrong, in words; one that is of the moment says when to ask again. */
export function sendFailure(response: Response, status: number, error: string): void {
  if (status === 503) response.set('Retry-After', RETRY_AFTER);
  response.status(status).json({ error } satisfies Failure);
}
