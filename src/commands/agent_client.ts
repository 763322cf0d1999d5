import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import type { Failure } from '#api/errors.ts';
import { Files } from '#files/files.ts';
import { readToken } from '#http/access.ts';

/** Address of an agent, and the credentials for it. */
export interface AgentAddress {
  /** Base URL of the agent. */
  readonly url: string;
  /** Path of the agent's Unix socket, which takes precedence over the URL. */
  readonly socketPath?: string | undefined;
  /** File with the bearer token that the agent requires from other machines. */
  readonly tokenFile?: string | undefined;
}

export type Query = Readonly<Record<string, string | undefined>>;

/** Value of the header `Accept`. Streams are requested as JSON lines; all other routes respond with JSON. */
const ACCEPT = 'application/x-ndjson, application/json;q=0.5';

/** Client of the HTTP interface of an agent. */
export class AgentClient {
  readonly #base: string;
  readonly #socketPath: string | undefined;
  readonly #token: string | undefined;

  private constructor({ url, socketPath }: AgentAddress, token: string | undefined) {
    this.#base = url;
    this.#socketPath = socketPath;
    this.#token = token;
  }

  /**
   * Creates a client.
   * @throws if the URL is malformed or the token cannot be read
   */
  static async open(address: AgentAddress): Promise<AgentClient> {
    const { url, tokenFile } = address;
    if (!URL.canParse(url)) throw new Error(`--url ${url}: give a URL like http://127.0.0.1:9102`);
    return new AgentClient(
      address,
      tokenFile === undefined ? undefined : await readToken(new Files(), tokenFile, '--token-file'),
    );
  }

  /**
   * Requests a path, and returns the body of the response as text.
   * @throws if the agent cannot be reached or refuses the request
   */
  async read(path: string, query: Query, signal: AbortSignal): Promise<string> {
    return (await this.#ask(path, query, signal)).text();
  }

  /**
   * Yields the lines of a stream until the stream ends or the signal is aborted.
   * @throws if the agent cannot be reached or refuses the request, or if the connection is lost
   */
  async *lines(path: string, query: Query, signal: AbortSignal): AsyncGenerator<string> {
    let lines: AsyncGenerator<string>;
    try {
      lines = await this.subscribe(path, query, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    yield* lines;
  }

  /**
   * Requests a stream, and returns its lines once the agent has accepted the request. Lines end as in {@link lines}.
   * @throws if the agent cannot be reached or refuses the request
   */
  async subscribe(path: string, query: Query, signal: AbortSignal): Promise<AsyncGenerator<string>> {
    return this.#linesOf(await this.#ask(path, query, signal), signal);
  }

  async *#linesOf(response: Response, signal: AbortSignal): AsyncGenerator<string> {
    try {
      yield* linesOf(response);
    } catch (error) {
      if (signal.aborted) return;
      throw new Error(
        `lost the connection to the agent at ${this.#socketPath ?? new URL(this.#base).host}: ${(error as Error).message}`,
      );
    }
  }

  async #ask(path: string, query: Query, signal: AbortSignal): Promise<Response> {
    const url = new URL(path, this.#base);
    for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
    const response = await (this.#socketPath === undefined
      ? ask(url, this.#token, signal)
      : askSocket(this.#socketPath, url, signal));
    if (!response.ok) throw new Error(`the agent responded with ${response.status}: ${await reasonOf(response)}`);
    return response;
  }
}

async function ask(url: URL, token: string | undefined, signal: AbortSignal): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    return await fetch(url, { headers: { accept: ACCEPT, ...authorization }, signal });
  } catch (error) {
    const { cause, message } = error as Error;
    throw new Error(
      `cannot connect to the agent at ${url.host} (--url): ${cause instanceof AggregateError ? (cause.errors[0] as Error).message : ((cause as Error)?.message ?? message)}`,
    );
  }
}

/**
 * Sends a request through a Unix socket.
 * @throws if nothing listens on the socket
 */
async function askSocket(socketPath: string, url: URL, signal: AbortSignal): Promise<Response> {
  const call = request({
    socketPath,
    path: `${url.pathname}${url.search}`,
    headers: { accept: ACCEPT, host: 'localhost' },
    signal,
  });
  call.end();
  try {
    const [message] = (await once(call, 'response')) as [IncomingMessage];
    return new Response(Readable.toWeb(message) as ReadableStream<Uint8Array>, { status: message.statusCode ?? 0 });
  } catch (error) {
    throw new Error(`cannot connect to the agent at ${socketPath} (--api-socket): ${(error as Error).message}`);
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as Partial<Failure>;
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  let rest = '';
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/** Parses JSON from an agent. Returns undefined if it is malformed. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Converts `NAMESPACE/NAME` or `NAME` to the query parameters `namespace` and `pod` of the API. */
export function podQuery(pod: string | undefined): { namespace: string | undefined; pod: string | undefined } {
  const [name, namespace] = (pod ?? '').split('/').reverse();
  return { namespace, pod: name === '' ? undefined : name };
}

/**
 * Formats the owner of a record or an edge.
 * @param pod name of the Pod; null if the owner is unknown
 */
export function ownerText(namespace: string | null, pod: string | null): string {
  return pod === null ? '?' : [namespace, pod].filter(Boolean).join('/') || 'node';
}

/**
 * Returns a signal that is aborted by SIGTERM or SIGINT, or when the reader of the output exits, as in `netsonde events
 * --follow | head`.
 */
export function untilStopped(): AbortSignal {
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stopped.abort());
  process.stdout.on('error', () => stopped.abort());
  return stopped.signal;
}

/**
 * Checks the value of `--output`.
 * @throws if the format is unknown
 */
export function readFormat(output: string): 'json' | 'text' {
  if (output !== 'json' && output !== 'text') throw new Error(`-o ${output}: give json or text`);
  return output;
}
