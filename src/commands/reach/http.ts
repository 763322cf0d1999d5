import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import type { HttpFacts } from '#why/evidence.ts';
import { bounded } from './bounded.ts';
import type { TrialPlan } from './messages.ts';
import type { Deadline } from './timeouts.ts';

interface Asked extends Pick<TrialPlan, 'host' | 'port' | 'tls' | 'size'> {
  readonly path: string;
}

/**
 * Sends a request over a connection and reads the response.
 * @returns `next`: the path of a redirect to the same server
 */
export async function requestHttp(
  socket: Socket,
  asked: Asked,
  deadline: Deadline,
  tell: (text: string) => void,
): Promise<HttpFacts & { readonly next: string | undefined }> {
  const { host, port, path, size } = asked;
  const start = performance.now();
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const call = request({
    createConnection: () => socket,
    method: size === undefined ? 'GET' : 'POST',
    path,
    headers: {
      host: authority,
      'user-agent': 'netsonde-reach',
      connection: 'close',
      ...(size === undefined ? {} : { 'content-length': String(size) }),
    },
  });
  const responded = once(call, 'response');
  call.end(size === undefined ? undefined : Buffer.alloc(size));
  const [response] = (await deadline.race(responded)) as [IncomingMessage];
  const { statusCode: status = 0, statusMessage = '', headers } = response;
  const statusText = bounded(statusMessage);
  tell(`HTTP: ${status} ${statusText} after ${(performance.now() - start).toFixed(1)} ms (${bounded(path)})`);
  let bytes = 0;
  response.on('data', (data: Buffer) => {
    bytes += data.length;
  });
  await deadline.race(once(response, 'end'));
  tell(`HTTP: ${bytes} bytes in ${(performance.now() - start).toFixed(1)} ms`);
  const next = status >= 300 && status < 400 ? nextPath(headers.location, asked, authority, tell) : undefined;
  return { status, statusText, redirects: [], isLoop: false, bytes, next };
}

/** Returns the path that a redirect leads to; undefined if it leads to another server. */
function nextPath(
  location: string | undefined,
  { path, tls }: Asked,
  authority: string,
  tell: (text: string) => void,
): string | undefined {
  const base = `${tls ? 'https' : 'http'}://${authority}`;
  if (location === undefined || !URL.canParse(location, `${base}${path}`)) return undefined;
  const url = new URL(location, `${base}${path}`);
  if (url.origin === new URL(base).origin) return `${url.pathname}${url.search}`;
  tell(`HTTP: the redirect leads to another server, ${bounded(url.origin)}, which is not tried`);
  return undefined;
}
