import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { keyOf, ownerOf, type PeerKey, UNIX } from './peer.ts';
import type { RefusalCause, Refusals } from './refusals.ts';

/**
 * Maximum number of connections across all listeners. A client that does not read its response can use 4 MB of kernel
 * buffers, which count toward the agent's memory.
 */
export const CONNECTIONS_MAX = 64;
/**
 * Maximum number of additional connections younger than {@link NEW_MS}. They are allowed so that a burst cannot
 * displace a client that is about to send its request.
 */
export const NEWCOMERS_MAX = 192;
const NEW_MS = 250;
/**
 * Maximum number of additional connections from which the agent has not read yet. A burst is accepted in one turn of
 * the event loop and read in the next one, so a client within the burst gets its response before its connection could
 * be closed.
 */
export const UNREAD_NEWCOMERS_MAX = 1_024;
/**
 * Maximum time in milliseconds for which expensive work is postponed until a burst of connections ends. By then, most
 * of the connections will have been closed.
 */
export const CALM_MS = 50;
/** Maximum number of pipelined requests that wait on one connection. A client that sends more is disconnected. */
export const PIPELINED_MAX = 16;
/** Maximum total size in bytes of the unsent responses on all connections. */
export const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
/** Milliseconds after which a client that does not read any of its response is disconnected. */
export const UNREAD_MS = 30_000;
/** Milliseconds after a connection is accepted within which its first request has to arrive. */
export const FIRST_REQUEST_MS = 10_000;

export interface ConnectionLimits {
  readonly connections: number;
  readonly newcomers: number;
  readonly unreadNewcomers: number;
  readonly pipelined: number;
  readonly unreadBytes: number;
  readonly unreadMs: number;
  readonly firstRequestMs: number;
  readonly calmMs: number;
}

const LIMITS: ConnectionLimits = {
  connections: CONNECTIONS_MAX,
  newcomers: NEWCOMERS_MAX,
  unreadNewcomers: UNREAD_NEWCOMERS_MAX,
  pipelined: PIPELINED_MAX,
  unreadBytes: UNREAD_BYTES_MAX,
  unreadMs: UNREAD_MS,
  firstRequestMs: FIRST_REQUEST_MS,
  calmMs: CALM_MS,
};

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly app: RequestListener;
}

interface Connection {
  readonly key: PeerKey;
  readonly owner: string;
  /** The TCP socket, which is below TLS if TLS is used. */
  readonly socket: Socket;
  readonly openedMs: number;
  hasAsked: boolean;
  /** Whether the event loop has read the bytes that were available when the connection was accepted. */
  isRead: boolean;
  /** The request in progress. */
  active: Call | undefined;
  readonly waiting: Call[];
  /** Timer that closes the connection if no request arrives. */
  readonly silence: NodeJS.Timeout;
}

/**
 * Tracks the connections of all listeners. Handles one request per connection at a time, and limits the number of
 * connections and the size of unsent responses. When a limit is exceeded, the owner (see {@link ownerOf}) with the most
 * connections loses one, so that a flood from one address cannot lock out the kubelet or a scraper at another address.
 */
export class Connections implements Disposable {
  readonly #limits: ConnectionLimits;
  readonly #refusals: Refusals;
  /** All connections, oldest first. */
  readonly #known = new Map<PeerKey, Connection>();
  /** Connections that were accepted in this turn of the event loop. */
  #accepted: Connection[] = [];
  /** Connections that were accepted in the previous turn, and are read in this one. */
  #reading: Connection[] = [];
  #isTurning = false;
  /** Work that waits for a burst of connections to end. */
  #delayed: { readonly work: () => void; readonly byMs: number }[] = [];
  #isBoundDue = false;

  constructor(refusals: Refusals, limits: Partial<ConnectionLimits> = {}) {
    this.#refusals = refusals;
    this.#limits = { ...LIMITS, ...limits };
  }

  get count(): number {
    return this.#known.size;
  }

  /** Total size of the unsent responses in bytes. */
  get unreadBytes(): number {
    return [...this.#known.values()].reduce((sum, connection) => sum + unreadOf(connection), 0);
  }

  /** Registers a connection that was just accepted. */
  open(socket: Socket): void {
    const connection: Connection = {
      key: keyOf(socket),
      owner: ownerOf(socket),
      socket,
      openedMs: performance.now(),
      hasAsked: false,
      isRead: false,
      active: undefined,
      waiting: [],
      silence: setTimeout(() => this.#close(connection, 'silent'), this.#limits.firstRequestMs),
    };
    socket.once('close', () => this.#forget(connection));
    // A reset by the client must not become an uncaught error.
    socket.on('error', () => undefined);
    this.#known.set(connection.key, connection);
    this.#accepted.push(connection);
    if (!this.#isTurning) setImmediate(() => this.#turn());
    this.#isTurning = true;
    if (this.#accepted.length > this.#limits.unreadNewcomers) this.#bound();
  }

  /**
   * Runs the work once no more connections arrive and all accepted ones have been read, but at the latest after
   * {@link CALM_MS}.
   */
  whenCalm(work: () => void): void {
    if (this.#isTurning) this.#delayed.push({ work, byMs: performance.now() + this.#limits.calmMs });
    else setImmediate(work);
  }

  /** Passes the request to `app` once the earlier requests on its connection are done. */
  handle(request: IncomingMessage, response: ServerResponse, app: RequestListener): void {
    const connection = this.#known.get(keyOf(request.socket));
    // The connection was closed while its requests were being read.
    if (connection === undefined) return;
    if (!connection.hasAsked) {
      clearTimeout(connection.silence);
      connection.hasAsked = true;
      this.#boundSoon();
    }
    const call = { request, response, app };
    if (connection.active === undefined) this.#begin(connection, call);
    else if (connection.waiting.length < this.#limits.pipelined) connection.waiting.push(call);
    else this.#close(connection, 'pipelined');
  }

  /** Handles malformed input: sends the error unless a response is in progress, and closes the connection. */
  malformed(socket: Socket, answer: string): void {
    const connection = this.#known.get(keyOf(socket));
    if (connection === undefined) return;
    if (connection.active === undefined && socket.writable) socket.write(answer);
    this.#close(connection, 'malformed');
  }

  /** Closes connections with unsent responses while their total size exceeds the limit. */
  makeRoom(): void {
    for (;;) {
      const holders = [...this.#known.values()].filter((connection) => unreadOf(connection) > 0);
      // A single response may exceed the limit.
      if (holders.length < 2 || this.unreadBytes <= this.#limits.unreadBytes) return;
      const victim = victimOf(holders, unreadOf);
      if (victim === undefined) return;
      this.#close(victim, 'unread');
    }
  }

  /**
   * Closes TCP connections after the access rules have changed: idle connections and streams at once, and other
   * connections after their response.
   */
  retire(): void {
    for (const { active, owner, socket } of this.#known.values()) {
      if (owner === UNIX) continue;
      const isStream = active?.response.headersSent === true && !active.response.writableEnded;
      if (active === undefined || isStream) socket.destroy();
      else active.response.once('close', () => socket.destroy());
    }
  }

  [Symbol.dispose](): void {
    for (const { socket } of this.#known.values()) socket.destroy();
  }

  /**
   * Applies the limits at the end of this turn of the event loop. Most connections of a burst are then closed before
   * any work is done for them.
   */
  #boundSoon(): void {
    if (this.#isBoundDue) return;
    this.#isBoundDue = true;
    setImmediate(() => {
      this.#isBoundDue = false;
      this.#bound();
    });
  }

  /**
   * Runs at the end of each turn while connections arrive. The first bytes of a connection are read in the turn after
   * it was accepted.
   */
  #turn(): void {
    for (const connection of this.#reading) connection.isRead = true;
    this.#reading = this.#accepted;
    this.#accepted = [];
    this.#isTurning = this.#reading.length > 0;
    if (this.#isTurning) setImmediate(() => this.#turn());
    this.#bound();
    const nowMs = this.#isTurning ? performance.now() : Number.POSITIVE_INFINITY;
    const due = this.#delayed.findIndex(({ byMs }) => byMs > nowMs);
    for (const { work } of this.#delayed.splice(0, due < 0 ? this.#delayed.length : due)) work();
  }

  /** Closes the connections that exceed the limits. */
  #bound(): void {
    const { connections, newcomers, unreadNewcomers } = this.#limits;
    if (this.#known.size <= connections) return;
    const sinceMs = performance.now() - NEW_MS;
    const groups = Map.groupBy(this.#known.values(), ({ hasAsked, isRead, openedMs }) => {
      if (!hasAsked && !isRead) return 'unread';
      return hasAsked || openedMs <= sinceMs ? 'settled' : 'new';
    });
    const victims = [
      ...surplusOf(groups.get('settled') ?? [], connections),
      ...surplusOf(groups.get('new') ?? [], newcomers),
      ...surplusOf(groups.get('unread') ?? [], unreadNewcomers),
    ];
    for (const victim of victims) this.#close(victim, 'connections');
  }

  #begin(connection: Connection, call: Call): void {
    const { request, response, app } = call;
    connection.active = call;
    // A microtask runs after all other `close` listeners of this response.
    response.once('close', () => queueMicrotask(() => this.#next(connection)));
    // The whole response has been written, so only a slow client can delay its end. Streams have their own limit.
    response.once('prefinish', () =>
      response.setTimeout(this.#limits.unreadMs, () => this.#close(connection, 'unread')),
    );
    // Closing the connection is cheaper than reading a request body.
    if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined)
      response.shouldKeepAlive = false;
    this.makeRoom();
    app(request, response);
  }

  #next(connection: Connection): void {
    connection.active = undefined;
    const next = connection.waiting.shift();
    if (next !== undefined) this.#begin(connection, next);
  }

  #close(connection: Connection, cause: RefusalCause): void {
    this.#refusals.count(cause);
    this.#forget(connection);
    connection.socket.destroy();
  }

  #forget(connection: Connection): void {
    clearTimeout(connection.silence);
    connection.waiting.length = 0;
    if (this.#known.get(connection.key) === connection) this.#known.delete(connection.key);
  }
}

function unreadOf({ active }: Connection): number {
  return active?.response.writableLength ?? 0;
}

/**
 * Chooses a connection of the owner with the largest total size: an idle one if there is one, otherwise its largest
 * connection. Among connections of equal size, the oldest is chosen.
 */
function victimOf(
  connections: readonly Connection[],
  sizeOf: (connection: Connection) => number,
): Connection | undefined {
  const sizes = new Map<string, number>();
  for (const connection of connections) {
    sizes.set(connection.owner, (sizes.get(connection.owner) ?? 0) + sizeOf(connection));
  }
  const most = Math.max(...sizes.values());
  const candidates = connections.filter(({ owner }) => sizes.get(owner) === most);
  const largest = Math.max(...candidates.map(sizeOf));
  return (
    candidates.find(({ active }) => active === undefined) ??
    candidates.find((connection) => sizeOf(connection) === largest)
  );
}

/**
 * Returns the connections to close so that `bound` of them remain. Chooses each from the owner with the most remaining
 * connections: idle connections first, and older ones before newer ones.
 */
function surplusOf(connections: readonly Connection[], bound: number): Connection[] {
  if (connections.length <= bound) return [];
  const isIdle = ({ active }: Connection) => active === undefined;
  const owners = [...Map.groupBy(connections, ({ owner }) => owner).values()].map((own) => [
    ...own.filter(isIdle),
    ...own.filter((one) => !isIdle(one)),
  ]);
  const surplus: Connection[] = [];
  while (connections.length - surplus.length > bound) {
    const most = owners.reduce((largest, own) => (own.length > largest.length ? own : largest));
    const victim = most.shift();
    if (victim !== undefined) surplus.push(victim);
  }
  return surplus;
}
