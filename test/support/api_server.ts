import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { groupList, readJson, sendJson, sendNamed, sendStatus } from './api_answers.ts';
import { asksTable, tableEvent, tableOf } from './api_tables.ts';
import { run } from './command.ts';

/** An object of the Kubernetes API. */
export interface ApiObject {
  readonly metadata: {
    readonly uid: string;
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly object: ApiObject;
  readonly before: ApiObject | undefined;
}

interface Stream {
  readonly response: ServerResponse;
  readonly resource: string;
  /**
   * Changes up to this version are not sent. If it is newer than the server's version, the client receives no changes.
   */
  readonly since: number;
  readonly matches: (object: ApiObject) => boolean;
  /** Value of the parameter `includeObject` for a stream of tables; undefined for a stream of objects. */
  readonly table: string | null | undefined;
  /** Number of events that have been sent. */
  sent: number;
}

export interface SeenRequest {
  readonly atMs: number;
  readonly method: string;
  readonly resource: string;
  readonly isWatch: boolean;
  readonly query: URLSearchParams;
}

/** How the server responds to requests. */
export type Mood =
  | { readonly kind: 'well' }
  /** Accepts requests without responding, and sends nothing on streams. */
  | { readonly kind: 'hangs' }
  /** Responds with this status code. */
  | { readonly kind: 'fails'; readonly status: number }
  /** Ends each stream immediately. */
  | { readonly kind: 'ends-streams' }
  /** Reports that the resource version is too old, either as an event in the stream or as the response status. */
  | { readonly kind: 'gone'; readonly as: 'status' | 'event' };

const RESOURCE = /^\/(?:api|apis\/[\w.]+)\/v\d\w*\/(?:namespaces\/([\w.-]+)\/)?(\w+)$/;
/** Path of one object. */
const NAMED = /^\/(?:api|apis\/[\w.]+)\/v\d\w*\/(?:namespaces\/([\w.-]+)\/)?(\w+)\/([\w.-]+)$/;
const KINDS: Readonly<Record<string, string>> = {
  pods: 'Pod',
  nodes: 'Node',
  services: 'Service',
  endpointslices: 'EndpointSlice',
  configmaps: 'ConfigMap',
  networkpolicies: 'NetworkPolicy',
  clusternetworkpolicies: 'ClusterNetworkPolicy',
};

/**
 * A Kubernetes API server that implements the list and watch protocol (https://kubernetes.io/docs/reference/using-api/api-concepts/), including
 * its failures: resource versions, pages, bookmarks, 410 Gone, and streams that hang or are reset.
 */
export class ApiServer implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'api-server-'));
  readonly requests: SeenRequest[] = [];
  /** Interval between two bookmarks of a stream in milliseconds. */
  bookmarkMs = 1_000;
  mood: Mood = { kind: 'well' };
  /** API groups listed under `/apis`, with their versions. */
  groups: Readonly<Record<string, readonly string[]>> = {};
  /** Status codes, such as 403 or 404, with which the server refuses requests, by resource. */
  readonly refusals = new Map<string, number>();
  readonly #objects = new Map<string, Map<string, ApiObject>>();
  #changes: (Change & { readonly resource: string })[] = [];
  #version: number;
  /** Changes up to this version have been compacted and are no longer available. */
  #compacted: number;
  #token = randomUUID();
  #server: Server | undefined;
  #port = 0;
  readonly #sockets = new Set<Socket>();
  readonly #streams = new Set<Stream>();
  readonly #held: (() => void)[] = [];
  #bookmarks: NodeJS.Timeout | undefined;
  /** Number of creations that were rejected with 409 because the object already exists. */
  conflicts = 0;

  private constructor(version: number) {
    this.#version = version;
    this.#compacted = version;
    const { folder } = this;
    const subject = ['-subj', '/CN=api', '-addext', 'subjectAltName=IP:127.0.0.1'];
    run(
      'openssl',
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      join(folder, 'tls.key'),
      '-out',
      join(folder, 'tls.crt'),
      ...subject,
    );
  }

  /** @param bookmarkMs interval between two bookmarks of a stream in milliseconds; 60 s in Kubernetes */
  static async start(version = 1_000, bookmarkMs = 1_000): Promise<ApiServer> {
    const server = new ApiServer(version);
    server.bookmarkMs = bookmarkMs;
    await server.restart();
    writeFileSync(server.tokenFile, server.#token);
    writeFileSync(
      server.kubeconfig,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 'test', cluster: { server: server.url, 'certificate-authority': join(server.folder, 'tls.crt') } },
        ],
        users: [
          { name: 'test', user: { 'auth-provider': { name: 'tokenFile', config: { tokenFile: server.tokenFile } } } },
        ],
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
        'current-context': 'test',
      }),
    );
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get kubeconfig(): string {
    return join(this.folder, 'kubeconfig');
  }

  get tokenFile(): string {
    return join(this.folder, 'token');
  }

  /** Returns environment variables for an agent: its kubeconfig and the name of its node. */
  environment(node: string): NodeJS.ProcessEnv {
    return { KUBECONFIG: this.kubeconfig, NODE_NAME: node };
  }

  /** Returns the requests for a resource since `sinceMs`. */
  requestsSince(resource: string, sinceMs: number): readonly SeenRequest[] {
    return this.requests.filter((request) => request.resource === resource && request.atMs >= sinceMs);
  }

  list(resource: string): readonly ApiObject[] {
    return [...(this.#objects.get(resource)?.values() ?? [])];
  }

  /** Creates or replaces an object. */
  put(resource: string, object: ApiObject): void {
    const before = this.#of(resource).get(object.metadata.uid);
    this.#change(resource, before === undefined ? 'ADDED' : 'MODIFIED', object, before);
  }

  delete(resource: string, uid: string): void {
    const before = this.#of(resource).get(uid);
    if (before !== undefined) this.#change(resource, 'DELETED', before, before);
  }

  /** Removes an object without sending a change to watchers. */
  forget(resource: string, uid: string): void {
    this.#of(resource).delete(uid);
  }

  /** The currently valid token. */
  get token(): string {
    return this.#token;
  }

  /**
   * Creates a new token. The server accepts only the new token from then on, but the token file changes only when
   * `write` is called.
   */
  rotateToken(): { readonly write: () => void } {
    const token = randomUUID();
    this.#token = token;
    return { write: () => writeFileSync(this.tokenFile, token) };
  }

  /** Stops the server and closes all connections immediately. */
  async kill(): Promise<void> {
    clearInterval(this.#bookmarks);
    for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#streams.clear();
    this.#held.length = 0;
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    await new Promise((resolve) => server.close(resolve));
  }

  /**
   * Starts the server again at the same address. @param version first resource version after the restart; if undefined,
   * versions continue from before
   */
  async restart(version?: number): Promise<void> {
    if (version !== undefined) {
      this.#version = version;
      this.#changes = [];
      this.#compacted = version;
    }
    const [key, cert] = ['tls.key', 'tls.crt'].map((name) => readFileSync(join(this.folder, name)));
    const server = createServer({ key, cert }, (request, response) => void this.#serve(request, response));
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    this.#bookmarks = setInterval(() => this.#sendBookmarks(), this.bookmarkMs);
  }

  /** Resets all streams in the middle of a line. */
  resetStreams(): void {
    for (const { response } of this.#streams) {
      response.write('{"type":"MODIFIED","obj');
      // TLS has no reset of its own, so the underlying TCP socket is reset.
      const below = [...this.#sockets].find(({ remotePort }) => remotePort === response.socket?.remotePort);
      setTimeout(() => below?.resetAndDestroy(), 20);
    }
    this.#streams.clear();
  }

  /**
   * Stops hanging, and responds to waiting requests. @param streams whether streams continue or stay silent permanently
   */
  resume(streams: 'go-on' | 'stay-silent'): void {
    this.mood = { kind: 'well' };
    if (streams === 'stay-silent') this.#streams.clear();
    for (const answer of this.#held.splice(0)) answer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #of(resource: string): Map<string, ApiObject> {
    let objects = this.#objects.get(resource);
    if (objects === undefined) {
      objects = new Map();
      this.#objects.set(resource, objects);
    }
    return objects;
  }

  #change(resource: string, type: Change['type'], given: ApiObject, before: ApiObject | undefined): void {
    const version = ++this.#version;
    const object = { ...given, metadata: { ...given.metadata, resourceVersion: String(version) } };
    if (type === 'DELETED') this.#of(resource).delete(object.metadata.uid);
    else this.#of(resource).set(object.metadata.uid, object);
    const change = { resource, type, version, object, before };
    this.#changes.push(change);
    const tell = () => {
      for (const stream of this.#streams) if (stream.resource === resource) send(stream, change);
    };
    if (this.mood.kind === 'hangs') this.#held.push(tell);
    else tell();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.url);
    const path = RESOURCE.exec(url.pathname) ?? NAMED.exec(url.pathname) ?? [];
    const [, namespace, resource = url.pathname, name] = path;
    const isWatch = url.searchParams.get('watch') === 'true';
    this.requests.push({
      atMs: performance.now(),
      method: request.method ?? '',
      resource,
      isWatch,
      query: url.searchParams,
    });
    if (this.mood.kind === 'hangs') await new Promise<void>((resolve) => this.#held.push(resolve));
    if (response.destroyed) return;
    if (request.headers.authorization !== `Bearer ${this.#token}`) return sendStatus(response, 401, 'Unauthorized');
    if (this.mood.kind === 'fails') return sendStatus(response, this.mood.status, 'the server is not well');
    const refusal = this.refusals.get(resource);
    if (refusal !== undefined) return sendStatus(response, refusal, `${resource} is refused`);
    if (resource === '/apis') return sendJson(response, 200, groupList(this.groups));
    if (name !== undefined) return sendNamed(response, this.list(resource), namespace, name);
    if (request.method === 'POST') return this.#create(resource, (await readJson(request)) as ApiObject, response);
    const matches = matcher(namespace, url.searchParams.get('fieldSelector') ?? '');
    if (isWatch) this.#watch(resource, matches, url.searchParams, request, response);
    else this.#list(resource, matches, url.searchParams, request, response);
  }

  #create(resource: string, given: ApiObject, response: ServerResponse): void {
    const { name, namespace } = given.metadata;
    if (this.list(resource).some(({ metadata }) => metadata.name === name && metadata.namespace === namespace)) {
      this.conflicts++;
      sendStatus(response, 409, `${resource} "${name}" already exists`);
    } else {
      const object = { ...given, metadata: { ...given.metadata, uid: randomUUID() } };
      this.put(resource, object);
      sendJson(response, 201, object);
    }
  }

  #list(
    resource: string,
    matches: (object: ApiObject) => boolean,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    // As in Kubernetes, resourceVersion=0 returns a complete list from the cache and ignores the limit.
    const limit = query.get('resourceVersion') === '0' ? 0 : Number(query.get('limit') ?? 0);
    const [from = 0, version = this.#version] = (query.get('continue') ?? '')
      .split(':')
      .filter((part) => part !== '')
      .map(Number);
    if (version < this.#compacted) {
      sendStatus(response, 410, 'The provided continue parameter is too old');
      return;
    }
    const all = this.list(resource).filter(matches);
    const items = limit > 0 ? all.slice(from, from + limit) : all;
    const left = limit > 0 ? Math.max(0, all.length - from - limit) : 0;
    // As in Kubernetes, the number of the remaining objects is unknown with a selector.
    const remaining = query.has('fieldSelector') ? {} : { remainingItemCount: left };
    const next = left > 0 ? { continue: `${from + limit}:${version}`, ...remaining } : {};
    const metadata = { resourceVersion: String(version), ...next };
    const body = asksTable(request.headers.accept)
      ? tableOf(resource, metadata, items, query.get('includeObject'))
      : { kind: `${KINDS[resource]}List`, apiVersion: 'v1', metadata, items };
    sendJson(response, 200, body, String(request.headers['accept-encoding'] ?? '').includes('gzip'));
  }

  #watch(
    resource: string,
    matches: (object: ApiObject) => boolean,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const since = Number(query.get('resourceVersion'));
    const isTooOld = since < this.#compacted;
    const { mood } = this;
    if (mood.kind === 'gone' && mood.as === 'status') {
      sendStatus(response, 410, 'too old resource version');
      return;
    }
    response.writeHead(200, { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' });
    response.flushHeaders();
    if (isTooOld || mood.kind === 'gone') {
      const object = { kind: 'Status', code: 410, reason: 'Expired', message: `too old resource version: ${since}` };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    if (mood.kind === 'ends-streams') {
      response.end();
      return;
    }
    const table = asksTable(request.headers.accept) ? query.get('includeObject') : undefined;
    const stream = { response, resource, since, matches, table, sent: 0 };
    for (const change of this.#changes) if (change.resource === resource) send(stream, change);
    this.#streams.add(stream);
    const end = () => {
      // The stream must receive no data after its end, although the connection may stay open for a moment.
      this.#streams.delete(stream);
      response.end();
    };
    const timer = setTimeout(end, Number(query.get('timeoutSeconds') ?? 60) * 1_000);
    response.once('close', () => {
      clearTimeout(timer);
      this.#streams.delete(stream);
    });
  }

  #sendBookmarks(): void {
    if (this.mood.kind === 'hangs') return;
    for (const { response, resource, table } of this.#streams) {
      const metadata = { resourceVersion: String(this.#version) };
      const object = table === undefined ? { kind: KINDS[resource], metadata } : tableOf(resource, metadata, [], table);
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
    }
  }
}

/**
 * Sends a change to a watcher. If an object no longer matches the watcher's selector, the change is sent as a deletion.
 */
function send(stream: Stream, { type, version, object, before }: Change): void {
  const { response, resource, since, matches, table } = stream;
  if (version <= since) return;
  const did = before !== undefined && matches(before);
  const does = type !== 'DELETED' && matches(object);
  if (!did && !does) return;
  const seen = does ? (did ? 'MODIFIED' : 'ADDED') : 'DELETED';
  const shown = table === undefined ? object : tableEvent(resource, object, table, stream.sent === 0);
  stream.sent++;
  response.write(`${JSON.stringify({ type: seen, object: shown })}\n`);
}

function matcher(namespace: string | undefined, selector: string): (object: ApiObject) => boolean {
  const terms = selector
    .split(',')
    .filter((term) => term !== '')
    .map((term) => {
      const [, path = '', operator, value] = /^([\w.]+)(!=|==?)(.*)$/.exec(term) ?? [];
      return { path: path.split('.'), isEqual: operator !== '!=', value };
    });
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    terms.every(({ path, isEqual, value }) => (String(fieldOf(object, path) ?? '') === value) === isEqual);
}

function fieldOf(object: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], object);
}
