import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { constants, gzip as zlibGzip } from 'node:zlib';
import type { HttpConfig } from '#config/sinks.ts';
import { boundInterim } from '#core/interim.ts';
import type { Files } from '#files/files.ts';
import { Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';
import { Dialer, type Network, type Progress } from './dial.ts';
import { basicLogin, readSecret } from './files.ts';
import { inert, Secrets } from './inert.ts';

const gzip = promisify(zlibGzip);

/**
 * Maximum age of a connection in milliseconds. Connections are replaced because the server's address or a certificate
 * may change.
 */
const CONNECTION_AGE_MS = 300_000;
/** Maximum number of bytes to read from a response, enough for any useful error message. */
const ANSWER_BYTES_MAX = 64 * 1024;
const NO_ANSWER = 'it did not respond';

export interface Answer {
  readonly status: number;
  /** Body of the response with the agent's secrets removed. Not yet safe to display. */
  readonly text: string;
  /** Whether the response was truncated because it exceeded the maximum length. */
  readonly isCut: boolean;
  readonly contentType: string;
  /** Target of a redirect, without query and credentials. */
  readonly location: string;
  readonly retryAfterMs: number;
}

type PostConfig = HttpConfig & { readonly compress: boolean };

/** Current step of a request, and the signal of its deadline. */
interface Dialing extends Progress {
  readonly signal: AbortSignal;
}

/** Keeps connections to one server open for reuse. */
class ConnectionPool extends HttpAgent {
  readonly #dialer: Dialer;
  readonly #bornMs = new WeakMap<Duplex, number>();

  constructor(dialer: Dialer, connectionsMax: number) {
    super({ keepAlive: true, maxSockets: connectionsMax });
    this.#dialer = dialer;
  }

  override createConnection(options: object, done: (error: Error | null, socket: Duplex) => void): undefined {
    // Node.js does not pass the request's signal to this method.
    const { dialing } = options as { dialing: Dialing };
    this.#dialer.dial(dialing.signal, dialing).then(
      (socket) => {
        this.#bornMs.set(socket, performance.now());
        done(null, socket);
      },
      (error: Error) => done(error, undefined as never),
    );
  }

  override keepSocketAlive(socket: Duplex): boolean {
    const isOld = performance.now() - (this.#bornMs.get(socket) ?? 0) > CONNECTION_AGE_MS;
    // The type definitions of Node.js lack the return value.
    return !isOld && (super.keepSocketAlive(socket) as unknown as boolean);
  }

  closeIdle(): void {
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}

/** Posts to one URL over a limited number of connections. Rereads tokens and passwords for each request. */
export class HttpPoster {
  readonly #url: URL;
  readonly #config: PostConfig;
  readonly #files: Files;
  readonly #pool: ConnectionPool;
  readonly #secrets = new Secrets();

  constructor(url: URL, config: PostConfig, files: Files, connectionsMax = 1, network?: Network) {
    this.#url = url;
    this.#config = config;
    this.#files = files;
    this.#pool = new ConnectionPool(new Dialer(url, config, files, network), connectionsMax);
  }

  /** @throws {Unavailable} if there is no response */
  async post(
    text: string | Uint8Array,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { compress, timeout: timeoutMs } = this.#config;
    const timeout = AbortSignal.timeout(timeoutMs);
    const dialing = { waitsFor: NO_ANSWER, signal: AbortSignal.any([signal, timeout]) };
    const encoding = compress ? { 'content-encoding': 'gzip' } : {};
    const all = { ...(await this.#ownHeaders(headers)), ...encoding };
    const body = compress ? await gzip(text, { level: constants.Z_BEST_SPEED }) : Buffer.from(text);
    try {
      return this.#withoutSecrets(await this.#tryTwice(body, all, dialing));
    } catch (error) {
      signal.throwIfAborted();
      const why = timeout.aborted ? late(dialing.waitsFor, timeoutMs) : messageOf(error);
      throw new Unavailable(inert(this.#secrets.hide(`${this.#url.host}: ${why}${proxyHint(this.#config)}`), 600));
    }
  }

  close(): void {
    this.#pool.destroy();
  }

  /** @throws {Unavailable} if a file with a secret cannot be read */
  async #ownHeaders(headers: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const { basicAuth, bearerTokenFile, proxy, headers: configured } = this.#config;
    const secrets = [...Object.values(configured), ...(headers[TENANT] === undefined ? [] : [headers[TENANT]])];
    const all: Record<string, string> = { host: this.#url.host, ...lowerCase(configured) };
    if (basicAuth !== undefined) {
      const { header, password } = await basicLogin(basicAuth, this.#files);
      all['authorization'] = header;
      secrets.push(password, header.replace('Basic ', ''));
    }
    if (bearerTokenFile !== undefined) {
      const token = await readSecret(bearerTokenFile, this.#files);
      all['authorization'] = `Bearer ${token}`;
      secrets.push(token);
    }
    if (proxy?.basicAuth !== undefined) {
      const { header, password } = await basicLogin(proxy.basicAuth, this.#files);
      secrets.push(password, header.replace('Basic ', ''));
      if (this.#isAsked) all['proxy-authorization'] = header;
    }
    this.#secrets.set(secrets);
    return { ...all, ...headers };
  }

  /** Whether the proxy receives the request itself instead of a CONNECT request for a tunnel. */
  get #isAsked(): boolean {
    return this.#config.proxy !== undefined && this.#url.protocol === 'http:';
  }

  /** Retries a request once if it failed on a reused connection, which the server may have closed while it was idle. */
  async #tryTwice(body: Uint8Array, headers: Record<string, string>, dialing: Dialing): Promise<Answer> {
    const first = this.#request(headers, dialing);
    try {
      return await exchange(first, body, dialing);
    } catch (error) {
      if (!first.reusedSocket || dialing.signal.aborted) throw error;
      this.#pool.closeIdle();
      return exchange(this.#request(headers, dialing), body, dialing);
    }
  }

  #request(headers: Record<string, string>, dialing: Dialing): ClientRequest {
    const { hostname, port, pathname, href } = this.#url;
    const path = this.#isAsked ? href : pathname;
    // The pool opens the connection, with TLS if the URL requires it.
    const options = {
      method: 'POST',
      hostname,
      port,
      path,
      headers,
      signal: dialing.signal,
      dialing,
      agent: this.#pool,
    };
    return requestHttp(options);
  }

  #withoutSecrets(answer: Answer): Answer {
    return { ...answer, text: this.#secrets.hide(answer.text), location: this.#secrets.hide(answer.location) };
  }
}

/** Header that names the Loki tenant. */
export const TENANT = 'x-scope-orgid';

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function late(waitsFor: string, timeoutMs: number): string {
  const [what = '', ...question] = waitsFor.split(': ');
  return [`${what} within ${timeoutMs} ms`, ...question].join(': ');
}

/** Returns a hint for users who expect the proxy environment variables to be used. */
function proxyHint({ proxy }: HttpConfig): string {
  const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'];
  const name = names.find((known) => (process.env[known] ?? '') !== '');
  return proxy !== undefined || name === undefined ? '' : `; ${name} is ignored: set the option proxy`;
}

function exchange(call: ClientRequest, body: Uint8Array, progress: Progress): Promise<Answer> {
  return new Promise((resolve, reject) => {
    call.on('error', reject);
    call.once('socket', () => {
      progress.waitsFor = NO_ANSWER;
    });
    call.once('response', (response) => readAnswer(response).then(resolve, reject));
    boundInterim(call);
    call.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = response;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      // Leaving the loop closes the connection.
      if (bytes > ANSWER_BYTES_MAX) break;
    }
  } catch (error) {
    // An error status is useful even if the connection breaks before the end of the body.
    if (status < 300) throw error;
  }
  return {
    status,
    text: Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString().trim(),
    isCut: bytes > ANSWER_BYTES_MAX,
    contentType: (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    location: placeOf(headers.location),
    retryAfterMs: parseRetryAfter(headers['retry-after'], headers.date),
  };
}

/** Returns the URL without the parts that may be secret. */
function placeOf(location: string | undefined): string {
  return (location ?? '').replace(/[?#].*$/su, '').replace(/\/\/[^/@]*@/, '//');
}

/**
 * Parses a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3). Returns milliseconds from now.
 * @param date the server's Date header, to which a date in `text` is compared because the server's clock may differ;
 * without it, such a date is ignored
 */
export function parseRetryAfter(text: string | undefined, date: string | undefined): number {
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const leftMs = Date.parse(text) - Date.parse(date ?? '');
  return Number.isNaN(leftMs) ? 0 : Math.max(0, leftMs);
}
