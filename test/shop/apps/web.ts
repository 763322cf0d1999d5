import { Agent, createServer, type IncomingMessage, request, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { countRequest } from './runtime.ts';

/** Milliseconds after which a request to another service is aborted. */
const TIMEOUT_MS = 3_000;

/** Each request has a connection of its own, so the number of connections matches the number of requests. */
const agent = new Agent({ keepAlive: false });

/**
 * Sends a request, and returns the response body. @throws if there is no response in time, or if its status is not 200
 */
export function call(url: string, method = 'GET', body = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const sent = request(url, { method, agent, signal }, (response) => {
      text(response).then((answer) => {
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(`${url}: ${response.statusCode}`));
      }, reject);
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

export type Handler = (url: URL, body: string) => Promise<string> | string;

/** Responds with the result of `handle`, or with 502 if it fails, which is usually because another service failed. */
export function serve(port: number, handle: Handler, backlog?: number): Promise<Server> {
  const server = createServer((message, response) => {
    answer(message, handle).then(
      (body) => {
        countRequest('served');
        response.end(body);
      },
      (error: unknown) => {
        countRequest('failed');
        response.statusCode = 502;
        response.end(String(error));
      },
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '0.0.0.0', ...(backlog !== undefined && { backlog }) }, () => resolve(server));
  });
}

async function answer(message: IncomingMessage, handle: Handler): Promise<string> {
  return handle(new URL(message.url ?? '', 'http://shop'), await text(message));
}
