import type { Response } from 'express';
import type { Failure } from '#api/errors.ts';

/** Seconds after which it is worth asking again. */
const RETRY_AFTER = '1';

/** An answer that says what is wrong, in words; one that is of the moment says when to ask again. */
export function sendFailure(response: Response, status: number, error: string): void {
  if (status === 503) response.set('Retry-After', RETRY_AFTER);
  response.status(status).json({ error } satisfies Failure);
}
