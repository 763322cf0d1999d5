import { readFile } from 'node:fs/promises';
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { promisify } from 'node:util';
import { constants, gzip as zlibGzip } from 'node:zlib';
import type { HttpConfig } from '#config/sinks.ts';
import { Unavailable } from '../sink.ts';

const gzip = promisify(zlibGzip);

/** A connection is used no longer than that: a name may mean another address by then, and a certificate may be renewed. */
const CONNECTION_AGE_MS = 300_000;
/** Of what a server says. */
const TEXT_MAX = 1_000;

export interface Answer {
  readonly status: number;
  /** Cut. */
  readonly text: string;
  readonly retryAfterMs: number;
}

/** A connection to one server that is kept, and what it takes to be let in. */
class HttpConnection {
  readonly #url: URL;
  readonly #config: HttpConfig;
  #agent: HttpAgent | undefined;
  #agentMs = 0;

  constructor(url: URL, config: HttpConfig) {
    this.#url = url;
    this.#config = config;
  }

  /** @throws {Unavailable} where a file of ours cannot be read */
  async agent(): Promise<HttpAgent> {
    if (performance.now() - this.#agentMs > CONNECTION_AGE_MS) this.close();
    if (this.#agent !== undefined) return this.#agent;
    const common = { keepAlive: true, maxSockets: 1 };
    this.#agent =
      this.#url.protocol === 'https:'
        ? new HttpsAgent({ ...common, ...(await this.#tlsOptions()) })
        : new HttpAgent(common);
    this.#agentMs = performance.now();
    return this.#agent;
  }

  /** @throws {Unavailable} where a file of ours cannot be read */
  async credentials(): Promise<Record<string, string>> {
    const { basicAuth, bearerTokenFile } = this.#config;
    if (basicAuth !== undefined) {
      const password = await readSecret(basicAuth.passwordFile);
      return { authorization: `Basic ${Buffer.from(`${basicAuth.username}:${password}`).toString('base64')}` };
    }
    return bearerTokenFile === undefined ? {} : { authorization: `Bearer ${await readSecret(bearerTokenFile)}` };
  }

  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  async #tlsOptions(): Promise<object> {
    const { ca, cert, key, serverName, insecureSkipVerify = false } = this.#config.tls ?? {};
    return {
      ...(ca === undefined ? {} : { ca: await readText(ca) }),
      ...(cert === undefined ? {} : { cert: await readText(cert) }),
      ...(key === undefined ? {} : { key: await readText(key) }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      rejectUnauthorized: !insecureSkipVerify,
    };
  }
}

type PostConfig = HttpConfig & { readonly compress: boolean };

/** Posts to one URL. Addresses and files are looked up anew with each new connection. */
export class HttpPoster {
  readonly #url: URL;
  readonly #config: PostConfig;
  readonly #connection: HttpConnection;

  constructor(url: URL, config: PostConfig) {
    this.#url = url;
    this.#config = config;
    this.#connection = new HttpConnection(url, config);
  }

  /** @throws {Unavailable} where there is no answer */
  async post(
    text: string | Uint8Array,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { compress, timeout: timeoutMs, headers: configured } = this.#config;
    const timeout = AbortSignal.timeout(timeoutMs);
    const encoding = compress ? { 'content-encoding': 'gzip' } : {};
    const all = { ...configured, ...(await this.#connection.credentials()), ...headers, ...encoding };
    const body = compress ? await gzip(text, { level: constants.Z_BEST_SPEED }) : Buffer.from(text);
    try {
      return await this.#tryTwice(body, all, AbortSignal.any([signal, timeout]));
    } catch (error) {
      this.close();
      signal.throwIfAborted();
      if (timeout.aborted) throw new Unavailable(`${this.#url.host} did not answer within ${timeoutMs} ms`);
      throw error instanceof Unavailable ? error : new Unavailable(`${this.#url.host}: ${messageOf(error)}`);
    }
  }

  close(): void {
    this.#connection.close();
  }

  /** A server may close a connection that was idle just when we use it again. */
  async #tryTwice(body: Uint8Array, headers: Record<string, string>, signal: AbortSignal): Promise<Answer> {
    const first = await this.#request(headers, signal);
    try {
      return await exchange(first, body);
    } catch (error) {
      if (!first.reusedSocket || signal.aborted) throw error;
      this.close();
      return exchange(await this.#request(headers, signal), body);
    }
  }

  async #request(headers: Record<string, string>, signal: AbortSignal): Promise<ClientRequest> {
    const options = { method: 'POST', headers, signal, agent: await this.#connection.agent() };
    return this.#url.protocol === 'https:' ? requestHttps(this.#url, options) : requestHttp(this.#url, options);
  }
}

/** @throws {Unavailable} */
async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Unavailable((error as Error).message);
  }
}

/** Editors leave a line end. */
async function readSecret(path: string): Promise<string> {
  const secret = (await readText(path)).trim();
  if (!/^[\x20-\x7e]+$/.test(secret)) throw new Unavailable(`${path} is empty, or no single line of plain ASCII`);
  return secret;
}

function exchange(call: ClientRequest, body: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    call.on('error', reject);
    call.once('response', (response) => readAnswer(response).then(resolve, reject));
    call.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  let text = '';
  for await (const chunk of response) {
    if (text.length < TEXT_MAX) text += String(chunk);
  }
  return {
    status: response.statusCode ?? 0,
    text: text.trim().slice(0, TEXT_MAX),
    retryAfterMs: parseRetryAfter(response.headers['retry-after'], response.headers.date),
  };
}

/**
 * Seconds, or a date (RFC 9110, 10.2.3), in milliseconds from now.
 * @param date when the server answered, by its own clock, which need not be ours; without it a date says nothing
 */
export function parseRetryAfter(text: string | undefined, date: string | undefined): number {
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const leftMs = Date.parse(text) - Date.parse(date ?? '');
  return Number.isNaN(leftMs) ? 0 : Math.max(0, leftMs);
}

/** Several addresses that all failed make an error of errors, without a message of its own. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  const { message, code } = error as NodeJS.ErrnoException;
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
