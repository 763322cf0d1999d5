import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PageCaller } from '#kernel/client.ts';
import { ownerOf } from './peer.ts';

/** Identifies the caller of a request, until the response closes. */
export function callerOf(request: IncomingMessage, response: ServerResponse): PageCaller {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client has gone')));
  return { owner: ownerOf(request.socket), signal: gone.signal };
}
