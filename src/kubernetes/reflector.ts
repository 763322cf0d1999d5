import { type Clock, SYSTEM_CLOCK } from '#core/clock.ts';
import { ApiError, type ApiSession, errorOf, withQuery } from './api.ts';
import { isEarlier, oneLine, statusOf, uidOf } from './api_values.ts';
import { Call } from './call.ts';
import type { Shape } from './json_prune.ts';
import { jsonLines, readList } from './json_stream.ts';
import { jittered, pauseMs, refusalPauseMs, reopenPauseMs } from './pace.ts';
import type { ResourceTally } from './tally.ts';

/** Kind of objects to watch, and the parts of them to keep. */
export interface Resource<T> {
  /** Plural name, for metrics and the log. */
  readonly name: string;
  /** Path, such as `/api/v1/pods`. */
  readonly path: string;
  readonly fieldSelector?: string;
  /**
   * How to list: `cache` for the whole list from the memory of the API server (resourceVersion=0), `pages` for a list
   * that is too large for one response.
   */
  readonly list: 'cache' | 'pages';
  /** Maximum number of objects. A longer list is rejected, because something must be wrong with the server. */
  readonly max: number;
  /** Parts of an object to parse. */
  readonly keep: { readonly metadata: Shape; readonly [key: string]: Shape };
  /** Returns the value to keep; undefined for an object to ignore. */
  readonly trim: (object: never) => T | undefined;
}

/** Called for every change, including changes that a new list reveals. The key is the object's UID. */
export interface Follower<T> {
  set(uid: string, object: T): void;
  delete(uid: string): void;
  /** Called when the list is complete. */
  listed?(): void;
}

export interface Timing {
  /** Maximum random delay before the first request. */
  readonly startJitterMs: number;
  /** Timeout for the start of a response, and for a pause within a list. */
  readonly answerMs: number;
  /** Timeout for a complete list, or a page of it. */
  readonly listMs: number;
  /** Timeout for silence on a stream. The API server sends a bookmark every minute. */
  readonly idleMs: number;
  /**
   * Maximum duration of a stream. The server is asked to end it after a random time between half of this duration and
   * all of it.
   */
  readonly streamMs: number;
  /** Interval at which the list is read again, in case a change was missed. */
  readonly relistMs: number;
}

export const TIMING: Timing = {
  startJitterMs: 0,
  answerMs: 5_000,
  listMs: 120_000,
  idleMs: 100_000,
  streamMs: 600_000,
  relistMs: 3_600_000,
};

export type ReflectorLog = (level: 'info' | 'warn', message: string) => void;

const PAGE_OBJECTS = 500;
/** Duration after which the end of a stream does not count as a failure. */
const STABLE_MS = 5_000;
const CODES_MAX = 64;
const TROUBLE_LENGTH_MAX = 1_000;
/** Maximum random fraction by which the interval between lists is shortened. */
const RELIST_JITTER = 0.2;

/** Fields of the Status object in an error event. */
const STATUS = { code: true, message: true } as const;

interface Metadata {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

interface WatchEvent {
  readonly type?: string;
  readonly object?: { readonly metadata?: Metadata; readonly code?: unknown; readonly message?: unknown };
}

/**
 * Maintains a copy of the objects of one kind by list and watch. After a failure or the end of a stream, continues from
 * the last version or lists again, at a limited rate.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class Reflector<T> implements AsyncDisposable {
  readonly #session: ApiSession;
  readonly #resource: Resource<T>;
  readonly #follower: Follower<T>;
  readonly #timing: Timing;
  readonly #log: ReflectorLog;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #running: Promise<void>;
  readonly #known = new Set<string>();
  readonly #requests = new Map<string, number>();
  /** Version to watch from; undefined if a list is needed. */
  #version: string | undefined;
  #listedMs = Number.NEGATIVE_INFINITY;
  #startedMs = Number.NEGATIVE_INFINITY;
  #notBeforeMs = 0;
  #heardMs: number | undefined;
  #failures = 0;
  /** When the current series of refusals began. */
  #refusedMs: number | undefined;
  #relists = -1;
  #trouble: string | undefined;
  #isConnected = false;

  /** @param clock clock for the pauses between requests; timeouts of requests use the system clock */
  constructor(
    session: ApiSession,
    resource: Resource<T>,
    follower: Follower<T>,
    log: ReflectorLog,
    timing: Partial<Timing> = {},
    clock: Clock = SYSTEM_CLOCK,
  ) {
    this.#session = session;
    this.#resource = resource;
    this.#follower = follower;
    this.#log = log;
    this.#timing = { ...TIMING, ...timing };
    this.#clock = clock;
    this.#running = this.#run();
  }

  get tally(): ResourceTally {
    return {
      resource: this.#resource.name,
      requests: this.#requests,
      relists: Math.max(0, this.#relists),
      heardMs: this.#heardMs,
      objects: this.#known.size,
      isConnected: this.#isConnected,
      trouble: this.#trouble,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort(new Error('closed'));
    await this.#running;
  }

  get #closed(): boolean {
    return this.#controller.signal.aborted;
  }

  async #run(): Promise<void> {
    await this.#sleep(Math.random() * this.#timing.startJitterMs);
    while (!this.#closed) {
      try {
        if (this.#version === undefined || this.#clock.now() - this.#listedMs > this.#timing.relistMs) {
          await this.#turn(this.#failures);
          await this.#list();
          // The list has succeeded, so earlier failures must not delay the watch.
          await this.#turn(0);
        } else {
          await this.#turn(this.#failures);
        }
        await this.#watch();
      } catch (error) {
        if (!this.#closed) this.#failed(error as Error);
      }
    }
  }

  /** Waits until the next request may be sent. */
  async #turn(failures: number): Promise<void> {
    const atMs = Math.max(this.#startedMs + pauseMs(failures, Math.random()), this.#notBeforeMs);
    await this.#sleep(atMs - this.#clock.now());
    this.#controller.signal.throwIfAborted();
    this.#startedMs = this.#clock.now();
  }

  async #sleep(ms: number): Promise<void> {
    if (ms > 0) await this.#clock.sleep(ms, this.#controller.signal);
  }

  #failed(error: Error): void {
    this.#failures++;
    this.#isConnected = false;
    if (error instanceof ApiError) {
      if (error.status === 401) this.#session.renew();
      const delayMs = this.#refusalDelayMs(error) || error.retryAfterMs;
      if (delayMs > 0) this.#notBeforeMs = this.#startedMs + delayMs;
    } else {
      this.#refusedMs = undefined;
      if (isCertificateFault(error)) this.#session.renew();
    }
    // The server may come back with different resource versions, for example after a restore.
    this.#version = undefined;
    const trouble = oneLine(`${this.#session.server} ${error.message}${this.#remedy(error)}`, TROUBLE_LENGTH_MAX);
    if (this.#trouble === trouble) return;
    this.#trouble = trouble;
    this.#log('warn', `${this.#resource.name}: ${trouble}; the last known state is kept`);
  }

  /** Returns the milliseconds to wait after a refusal; 0 for other errors, and for a refusal that may soon end. */
  #refusalDelayMs({ status }: ApiError): number {
    if (status !== 403 && status !== 404) {
      this.#refusedMs = undefined;
      return 0;
    }
    this.#refusedMs ??= this.#startedMs;
    return refusalPauseMs(this.#startedMs - this.#refusedMs, Math.random());
  }

  #remedy(error: Error): string {
    if (!(error instanceof ApiError) || error.status !== 403) return '';
    const [, namespace, resource] = /(?:\/namespaces\/([^/]+))?\/([^/]+)$/.exec(this.#resource.path) ?? [];
    const where = namespace === undefined ? 'the cluster' : `the namespace ${namespace}`;
    return ` (the service account needs permission to list and watch ${resource} in ${where}, see docs/kubernetes.md)`;
  }

  #heard(): void {
    this.#heardMs = this.#clock.now();
    this.#isConnected = true;
    this.#refusedMs = undefined;
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    this.#log('info', `${this.#resource.name}: ${this.#session.server} responds again`);
  }

  async #list(): Promise<void> {
    const found = new Set<string>();
    let next: string | undefined;
    let version: string;
    do {
      if (next !== undefined) await this.#turn(0);
      const page = await this.#listPage(next, found);
      version = page.resourceVersion;
      next = page.continue === '' ? undefined : page.continue;
    } while (next !== undefined);
    for (const uid of this.#known) if (!found.has(uid)) this.#delete(uid);
    this.#version = version;
    this.#listedMs = this.#clock.now() - Math.random() * this.#timing.relistMs * RELIST_JITTER;
    this.#relists++;
    this.#heard();
    this.#follower.listed?.();
  }

  /** Reads a list, or a page of it, and applies it only if it is complete. */
  async #listPage(next: string | undefined, found: Set<string>): ReturnType<typeof readList> {
    const { path, fieldSelector, list, keep, max } = this.#resource;
    const { answerMs, listMs } = this.#timing;
    const paging = list === 'cache' ? { resourceVersion: 0 } : { limit: PAGE_OBJECTS, continue: next };
    await using call = await this.#ask('list', withQuery(path, { fieldSelector, ...paging }));
    // Limits the total time, because a server may send slowly without end.
    const deadline = setTimeout(() => call.end(), listMs);
    const page: [uid: string, object: T | undefined][] = [];
    const take = (object: unknown) => {
      if (found.size + page.length >= max) throw this.#tooMany();
      page.push([uidOf(object), this.#resource.trim(object as never)]);
    };
    try {
      const { resourceVersion, continue: more } = await readList(call.body(answerMs), take, keep);
      for (const [uid, object] of page) this.#set(uid, object, found);
      return { resourceVersion, continue: more };
    } finally {
      clearTimeout(deadline);
    }
  }

  /**
   * Follows changes on a stream. Resolves when the stream has ended normally or its connection has broken. The next
   * stream continues from there.
   */
  async #watch(): Promise<void> {
    const { path, fieldSelector } = this.#resource;
    const streamMs = jittered(this.#timing.streamMs, Math.random());
    const query = {
      fieldSelector,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version,
      timeoutSeconds: Math.max(1, Math.round(streamMs / 1000)),
    };
    const shape = { type: true, object: { ...this.#resource.keep, ...STATUS } } as const;
    await using call = await this.#ask('watch', withQuery(path, query));
    this.#heard();
    const openedMs = this.#clock.now();
    // Ends the stream if the server ignores timeoutSeconds.
    const deadline = setTimeout(() => call.end(), streamMs + this.#timing.answerMs);
    try {
      for await (const event of jsonLines(call.body(this.#timing.idleMs), shape)) {
        this.#heard();
        this.#take(event as WatchEvent);
      }
    } catch (error) {
      // All changes up to the break were applied, so the next stream can continue from there.
      if (!call.isBrokenBy(error)) throw error;
    } finally {
      clearTimeout(deadline);
    }
    if (this.#clock.now() - openedMs >= STABLE_MS) this.#failures = 0;
    else this.#failures++;
    this.#notBeforeMs = this.#clock.now() + reopenPauseMs(Math.random());
  }

  #take({ type, object }: WatchEvent): void {
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
        this.#set(uidOf(object), this.#resource.trim(object as never));
        break;
      case 'DELETED':
        if (object?.metadata?.uid !== undefined) this.#delete(object.metadata.uid);
        break;
      case 'BOOKMARK':
        break;
      case 'ERROR':
        throw this.#endedBy(object ?? {});
      default:
        throw new SyntaxError(`sent an event of the type ${oneLine(String(type))}`);
    }
    const version = object?.metadata?.resourceVersion ?? this.#version;
    if (isEarlier(version, this.#version)) {
      throw new ApiError(0, `went back from version ${this.#version} to ${version}`);
    }
    this.#version = version;
    this.#failures = 0;
  }

  /** Returns the error in the Status object that ended a stream. */
  #endedBy({ code, message }: NonNullable<WatchEvent['object']>): ApiError {
    const status = statusOf(code);
    this.#count('watch', String(status ?? 'error'));
    const words = [status, typeof message === 'string' ? oneLine(message) : undefined];
    return new ApiError(status ?? 0, `ended the stream: ${words.filter((word) => word !== undefined).join(' ')}`);
  }

  /** @param found UIDs of the list in progress; undefined for a stream */
  #set(uid: string, object: T | undefined, found?: Set<string>): void {
    if (object === undefined) {
      this.#delete(uid);
      return;
    }
    if (!this.#known.has(uid)) this.#makeRoom(found);
    found?.add(uid);
    this.#known.add(uid);
    this.#follower.set(uid, object);
  }

  /** @throws if a stream has added too many objects */
  #makeRoom(found: ReadonlySet<string> | undefined): void {
    const { max } = this.#resource;
    if (found === undefined && this.#known.size >= max) throw this.#tooMany();
    if (found === undefined || this.#known.size < 2 * max) return;
    // Drops objects that only an incomplete earlier list has added.
    for (const uid of this.#known) if (!found.has(uid)) this.#delete(uid);
  }

  #tooMany(): Error {
    const { max, name } = this.#resource;
    return new Error(`has more than ${max} ${name}`);
  }

  #delete(uid: string): void {
    if (this.#known.delete(uid)) this.#follower.delete(uid);
  }

  /** @throws {ApiError} for any status other than 200 */
  async #ask(verb: 'list' | 'watch', path: string): Promise<Call> {
    const call = new Call(this.#controller.signal);
    try {
      const answer = this.#session.request({ method: 'GET', path, signal: call.signal });
      call.response = await call.within(answer, this.#timing.answerMs, 'does not respond');
      this.#count(verb, String(call.response.status));
      if (call.response.status !== 200) {
        throw await call.within(errorOf(call.response), this.#timing.answerMs, 'does not finish its response');
      }
      return call;
    } catch (error) {
      if (call.response === undefined) this.#count(verb, 'error');
      await call[Symbol.asyncDispose]();
      throw error;
    }
  }

  #count(verb: 'list' | 'watch', code: string): void {
    const key = `${verb} ${code}`;
    if (this.#requests.size < CODES_MAX || this.#requests.has(key)) {
      this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    }
  }
}

function isCertificateFault(error: Error): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return /CERT|^ERR_(TLS|SSL)|SIGNATURE/.test(code);
}
