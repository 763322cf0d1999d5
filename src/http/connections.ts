import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { keyOf, ownerOf, type PeerKey, UNIX } from './peer.ts';
import type { RefusalCause, Refusals } from './refusals.ts';

/**
 * Number of connections of all addresses and sockets together. The kernel's buffers for a client that reads nothing, up to 4 MB, are
 * the agent's memory as well.
 */
export const CONNECTIONS_MAX = 64;
/** Number of further connections that have just come: a client that opens many must not displace one whose request is on its way. */
export const NEWCOMERS_MAX = 192;
const NEW_MS = 250;
/**
 * Number of further connections whose first bytes were not looked for yet: a burst is accepted in one turn of the event loop, and read
 * in the next. A client in the middle of it that came with its request is answered before its connection could be closed.
 */
export const UNREAD_NEWCOMERS_MAX = 1_024;
/** Milliseconds for which expensive work waits at most while connections keep coming: most of a burst is to be closed before the work begins. */
export const CALM_MS = 50;
/** Number of requests of one connection that wait for the one before them; a client that sends more ahead has its connection closed. */
export const PIPELINED_MAX = 16;
/** Bytes of answers that clients have not taken, over all connections. */
export const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
/** Milliseconds within which a client has to take some of its answer. */
export const UNREAD_MS = 30_000;
/** Milliseconds after TLS within which the first request of a connection has to arrive. */
export const FIRST_REQUEST_MS = 10_000;

export interface ConnectionLimits {
  readonly connections: number;
  readonly newcomers: number;
  readonly unreadNewcomers: number;
  readonly pipelined: number;
  readonly unreadBytes: number;
  readonly unreadMs: number;
  readonly firstRequestMs: number;
}

const LIMITS: ConnectionLimits = {
  connections: CONNECTIONS_MAX,
  newcomers: NEWCOMERS_MAX,
  unreadNewcomers: UNREAD_NEWCOMERS_MAX,
  pipelined: PIPELINED_MAX,
  unreadBytes: UNREAD_BYTES_MAX,
  unreadMs: UNREAD_MS,
  firstRequestMs: FIRST_REQUEST_MS,
};

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly app: RequestListener;
}

interface Connection {
  readonly key: PeerKey;
  readonly owner: string;
  /** The socket below TLS. */
  readonly socket: Socket;
  readonly openedMs: number;
  hasAsked: boolean;
  /** Whether the bytes that came with its opening were read. */
  isRead: boolean;
  /** The request that is being answered. */
  active: Call | undefined;
  readonly waiting: Call[];
  /** Timer that closes a connection without a request. */
  readonly silence: NodeJS.Timeout;
}

/**
 * Every connection to the agent, by all its addresses and sockets. One request of each is answered at a time; the number of
 * connections, and of bytes that clients have not taken, is limited. At a limit, the owner with the most gives way, so a newcomer is
 * served even if others fill the agent: a probe of the kubelet and a scraper of another address always are.
 */
export class Connections implements Disposable {
  readonly #limits: ConnectionLimits;
  readonly #refusals: Refusals;
  /** Connections, the oldest first. */
  readonly #known = new Map<PeerKey, Connection>();
  /** Connections accepted in this turn of the event loop, and in the previous one. */
  #accepted: Connection[] = [];
  #reading: Connection[] = [];
  #isTurning = false;
  /** Work that waits until no more connections come. */
  #delayed: { readonly work: () => void; readonly byMs: number }[] = [];
  #isBoundDue = false;

  constructor(refusals: Refusals, limits: Partial<ConnectionLimits> = {}) {
    this.#refusals = refusals;
    this.#limits = { ...LIMITS, ...limits };
  }

  get count(): number {
    return this.#known.size;
  }

  /** Bytes of answers that no client has taken. */
  get unreadBytes(): number {
    return [...this.#known.values()].reduce((sum, connection) => sum + unreadOf(connection), 0);
  }

  /** Registers a connection that was accepted. */
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
    // A client that resets its connection is not an error of ours.
    socket.on('error', () => undefined);
    this.#known.set(connection.key, connection);
    this.#accepted.push(connection);
    if (!this.#isTurning) setImmediate(() => this.#turn());
    this.#isTurning = true;
    if (this.#accepted.length > this.#limits.unreadNewcomers) this.#bound();
  }

  /** Does the work once all bytes that have come are read and no more connections come, and at most {@link CALM_MS} later. */
  whenCalm(work: () => void): void {
    if (this.#isTurning) this.#delayed.push({ work, byMs: performance.now() + CALM_MS });
    else setImmediate(work);
  }

  /** Answers the request by `app`, once the earlier requests of the same connection are answered. */
  handle(request: IncomingMessage, response: ServerResponse, app: RequestListener): void {
    const connection = this.#known.get(keyOf(request.socket));
    // The connection was closed while its requests were read.
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

  /** Handles bytes that are not a request: the error is sent, unless it would end up inside an answer. */
  malformed(socket: Socket, answer: string): void {
    const connection = this.#known.get(keyOf(socket));
    if (connection === undefined) return;
    if (connection.active === undefined && socket.writable) socket.write(answer);
    this.#close(connection, 'malformed');
  }

  /** Makes room for an answer: connections whose clients take nothing of their answers give way. */
  makeRoom(): void {
    for (;;) {
      const holders = [...this.#known.values()].filter((connection) => unreadOf(connection) > 0);
      // An answer that is larger than the limit is still served.
      if (holders.length < 2 || this.unreadBytes <= this.#limits.unreadBytes) return;
      const victim = victimOf(holders, unreadOf);
      if (victim === undefined) return;
      this.#close(victim, 'unread');
    }
  }

  /** Closes connections after a change of the access rules for TCP: idle ones and streams at once, others after their answer. */
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

  /** Applies the limits once all that came in this turn of the event loop is read: most of a burst is closed before any work is done for it. */
  #boundSoon(): void {
    if (this.#isBoundDue) return;
    this.#isBoundDue = true;
    setImmediate(() => {
      this.#isBoundDue = false;
      this.#bound();
    });
  }

  /** Runs at the end of a turn of the event loop: bytes that came with a connection are read in the turn after the one that accepts it. */
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
    // Other listeners for the end of this response run first.
    response.once('close', () => queueMicrotask(() => this.#next(connection)));
    // From here on only bytes that the client takes are sent. A continuous stream has a limit of its own.
    response.once('prefinish', () =>
      response.setTimeout(this.#limits.unreadMs, () => this.#close(connection, 'unread')),
    );
    // Reading the rest of a body would be useless.
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

/** Chooses from the owner with the most: an idle connection, then the one that holds the most, then the oldest. */
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

/** Returns the connections that exceed the limit, the oldest first: from the owner with the most, an idle one, then the oldest. */
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
