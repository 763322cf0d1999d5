import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PageCaller } from '#kernel/client.ts';
import { ownerOf } from './peer.ts';

/** Returns the client of a request. Its signal is aborted when the response closes. */
export function callerOf(request: IncomingMessage, response: ServerResponse): PageCaller {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client has gone')));
  return { owner: ownerOf(request.socket), signal: gone.signal };
}
