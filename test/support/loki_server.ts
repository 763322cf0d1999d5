import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { EventRecord } from '#api/events.ts';
import { Ingester } from './loki_ingester.ts';
import { bodyTooLarge, type LokiLimits, NO_ORG_ID, type Reply } from './loki_limits.ts';

export interface LokiEntry {
  readonly labels: Readonly<Record<string, string>>;
  readonly time: string;
  readonly line: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A fault to simulate while the server handles a request. */
export interface Fault {
  readonly status?: number;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly delayMs?: number;
  /** Resets the connection either before the request is read or after the entries are stored. */
  readonly reset?: 'before' | 'after';
  /** Reads the request and never responds. */
  readonly hang?: boolean;
}

interface Push {
  readonly streams: readonly {
    readonly stream: Readonly<Record<string, string>>;
    readonly values: readonly (readonly [string, string, Readonly<Record<string, string>>?])[];
  }[];
}

/**
 * Implements Loki's push protocol (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs) and
 * stores the entries. Like Loki, it stores the valid entries of a push even if it responds with 400 because of invalid
 * entries. It also drops duplicates, which are entries with the same stream, time and line.
 */
export class LokiServer implements AsyncDisposable {
  readonly entries: LokiEntry[] = [];
  readonly requests: {
    readonly headers: IncomingMessage['headers'];
    readonly atMs: number;
    readonly entries: number;
  }[] = [];
  /** Number of dropped duplicates. */
  duplicates = 0;
  /** Number of entries that are older than a previously received entry of the same stream. */
  unordered = 0;
  connections = 0;
  /** Local address of each connection. */
  readonly addresses: string[] = [];
  /** Returns the fault to simulate. Called with the number of each request, starting with 1. */
  fault: (request: number) => Fault | undefined = () => undefined;
  /** Returns the reason to refuse an entry, or undefined to accept it. */
  refuse: (entry: LokiEntry) => string | undefined = () => undefined;
  readonly #ingester = new Ingester();
  readonly #tls: ServerOptions | undefined;
  /** Streams by their labels. */
  readonly #streams = new Map<string, { newest: string; readonly lines: Map<string, Set<string>> }>();
  #server: Server | undefined;
  #port = 0;
  #count = 0;

  private constructor(tls: ServerOptions | undefined) {
    this.#tls = tls;
  }

  static async start(tls?: ServerOptions): Promise<LokiServer> {
    const server = new LokiServer(tls);
    await server.up();
    return server;
  }

  get url(): string {
    return `${this.#tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  get records(): EventRecord[] {
    return this.entries.map(({ line }) => JSON.parse(line) as EventRecord);
  }

  /** Number of received requests, including failed ones. */
  get asked(): number {
    return this.#count;
  }

  set limits(limits: LokiLimits) {
    this.#ingester.limits = limits;
  }

  /** Starts listening; after `down()`, on the same port as before. */
  async up(): Promise<void> {
    const listener = (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch(() => response.destroy());
    };
    const server = this.#tls === undefined ? createHttp(listener) : createHttps(this.#tls, listener);
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.addresses.push(socket.localAddress ?? '');
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '0.0.0.0', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Stops listening, and resets all connections. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    this.#server?.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.fault(++this.#count);
    if (fault?.reset === 'before') {
      request.socket.resetAndDestroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (fault?.hang === true) return;
    if (fault?.delayMs !== undefined) await wait(fault.delayMs);
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.text ?? '');
      return;
    }
    const { status, text } = this.#push(request, Buffer.concat(chunks));
    if (fault?.reset === 'after') request.socket.resetAndDestroy();
    else
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text === '' ? '' : `${text}\n`);
  }

  #push({ method, url, headers }: IncomingMessage, body: Buffer): Reply {
    if (method !== 'POST' || url !== '/loki/api/v1/push') return { status: 404, text: '404 page not found' };
    if (headers['content-type'] !== 'application/json') return { status: 415, text: 'not JSON' };
    const { authEnabled = false, maxBodyBytes = Number.MAX_SAFE_INTEGER } = this.#ingester.limits;
    const tenant = headers['x-scope-orgid'];
    if (authEnabled && tenant === undefined) return NO_ORG_ID;
    const text = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    if (text.length > maxBodyBytes) return bodyTooLarge(text.length, maxBodyBytes);
    const streams = streamsOf(JSON.parse(text.toString()) as Push);
    this.requests.push({ headers, atMs: performance.now(), entries: streams.flat().length });
    const ingester = { refuse: this.refuse, take: (entry: LokiEntry) => this.#take(entry) };
    return this.#ingester.push(typeof tenant === 'string' ? tenant : 'fake', streams, ingester);
  }

  #take(entry: LokiEntry): void {
    const { labels, time, line } = entry;
    const stream = this.#streamOf(Object.entries(labels).flat().join('\0'));
    const lines = stream.lines.get(time);
    if (lines?.has(line) === true) {
      this.duplicates++;
      return;
    }
    if (lines === undefined) stream.lines.set(time, new Set([line]));
    else lines.add(line);
    if (time < stream.newest) this.unordered++;
    else stream.newest = time;
    this.entries.push(entry);
  }

  #streamOf(key: string): { newest: string; readonly lines: Map<string, Set<string>> } {
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = { newest: '', lines: new Map() };
      this.#streams.set(key, stream);
    }
    return stream;
  }
}

/** @throws if Loki would refuse the push */
function streamsOf({ streams }: Push): LokiEntry[][] {
  return streams.map(({ stream, values }) => {
    for (const [name, value] of Object.entries(stream)) {
      if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || typeof value !== 'string') throw new Error(`label ${name}`);
    }
    return values.map(([time, line, metadata = {}]) => {
      if (!/^\d{19}$/.test(time) || typeof line !== 'string') throw new Error(`entry ${time}`);
      if (Object.values(metadata).some((value) => typeof value !== 'string')) throw new Error('structured metadata');
      return { labels: stream, time, line, metadata };
    });
  });
}
