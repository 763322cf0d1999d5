import { type Clock, SYSTEM_CLOCK } from '#core/clock.ts';
import { Cycle } from '#core/cycle.ts';
import { ApiError, type ApiSession, withQuery } from './api.ts';
import { isEarlier, oneLine, statusOf, uidOf } from './api_values.ts';
import { type Form, formOf, type Kept, type Table } from './forms.ts';
import { jsonLines, type ListMetadata, readList } from './json_stream.ts';
import { KnownUids } from './known_uids.ts';
import { jittered, pauseMs, refusalPauseMs, reopenPauseMs, TIMING, type Timing } from './pace.ts';
import { Requests } from './requests.ts';
import type { ResourceTally } from './tally.ts';

/** A kind of objects to watch, and the parts of each object to keep. */
export interface Resource<T> {
  /** Plural name, for metrics and the log. */
  readonly name: string;
  /** Path, such as `/api/v1/pods`. */
  readonly path: string;
  readonly fieldSelector?: string;
  /**
   * How to list. `cache` requests the whole list from the memory of the API server (resourceVersion=0), and `pages`
   * requests a list that is too large for one response. `stream` is like `cache`, but applies each object as it
   * arrives, so that the agent never holds a large list in memory. If such a response is truncated, the objects that
   * have arrived remain applied.
   */
  readonly list: 'cache' | 'stream' | 'pages';
  /** Maximum number of objects. A longer list is rejected, because it can only result from a fault of the server. */
  readonly max: number;
  /** Parts of an object to parse. */
  readonly keep: Kept;
  /** Columns of the table to request; undefined to request whole objects. */
  readonly table?: Table;
  /** Returns the value to keep; undefined for an object that is to be ignored. */
  readonly trim: (object: never) => T | undefined;
}

/** Receives every change, including changes that only a new list reveals. The key is the UID of the object. */
export interface Follower<T> {
  /** @param isNews whether the object has just changed; false for an object from a list, which may be unchanged */
  set(uid: string, object: T, isNews: boolean): void;
  delete(uid: string): void;
  /** Called when the list is complete. */
  listed?(): void;
  /** Called when the server refuses requests for this resource (403) or does not know it (404). */
  refused?(): void;
}

export type ReflectorLog = (level: 'info' | 'warn', message: string) => void;

const PAGE_OBJECTS = 500;
/** Duration after which the end of a stream does not count as a failure. */
const STABLE_MS = 5_000;
const TROUBLE_LENGTH_MAX = 1_000;
/** Maximum fraction of the interval between lists by which the interval is shortened at random. */
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
 * Maintains a copy of all objects of one kind with list and watch requests. After a failure or the end of a stream,
 * continues from the last version or lists again, at a limited rate.
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
  readonly #known = new KnownUids();
  readonly #form: Form;
  readonly #requests: Requests;
  /** Resource version to watch from; undefined if a list has to be read first. */
  #version: string | undefined;
  #listedMs = Number.NEGATIVE_INFINITY;
  #startedMs = Number.NEGATIVE_INFINITY;
  #notBeforeMs = 0;
  #heardMs: number | undefined;
  #failures = 0;
  /** When the first of the current consecutive refusals occurred. */
  #refusedMs: number | undefined;
  #relists = -1;
  #trouble: string | undefined;
  #isConnected = false;

  /** @param clock clock for the pauses between requests; timeouts use the system clock */
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
    this.#form = formOf(resource.keep, resource.table);
    this.#follower = follower;
    this.#log = log;
    this.#timing = { ...TIMING, ...timing };
    this.#clock = clock;
    this.#requests = new Requests({
      session,
      accept: this.#form.accept,
      answerMs: this.#timing.answerMs,
      signal: this.#controller.signal,
    });
    this.#running = this.#run();
  }

  get tally(): ResourceTally {
    return {
      resource: this.#resource.name,
      requests: this.#requests.counts,
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
          // The list has succeeded, so earlier failures must not delay the watch request.
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

  /** Waits until the next request is allowed. */
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
    // The server may continue with other resource versions, for example after it was restored from a backup.
    this.#version = undefined;
    const trouble = oneLine(`${this.#session.server} ${error.message}${this.#remedy(error)}`, TROUBLE_LENGTH_MAX);
    if (this.#trouble === trouble) return;
    this.#trouble = trouble;
    this.#log('warn', `${this.#resource.name}: ${trouble}; the last known state is kept`);
  }

  /**
   * Returns the milliseconds to wait after a refusal. Returns 0 for other errors, and for a refusal that is probably
   * temporary.
   */
  #refusalDelayMs({ status }: ApiError): number {
    if (status !== 403 && status !== 404) {
      this.#refusedMs = undefined;
      return 0;
    }
    if (this.#refusedMs === undefined) this.#follower.refused?.();
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
    const cycle = new Cycle(this.#controller.signal);
    this.#known.begin();
    let next: string | undefined;
    let version: string;
    do {
      if (next !== undefined) await this.#turn(0);
      const page = await this.#listPage(next, cycle);
      version = page.resourceVersion;
      next = page.continue === '' ? undefined : page.continue;
    } while (next !== undefined);
    for (const uid of this.#known.unlisted()) {
      if (cycle.isDue) await cycle.pause();
      this.#delete(uid);
    }
    this.#version = version;
    this.#listedMs = this.#clock.now() - Math.random() * this.#timing.relistMs * RELIST_JITTER;
    this.#relists++;
    this.#heard();
    this.#follower.listed?.();
  }

  /**
   * Reads a list, or one page of it. For `stream`, applies each object as it arrives. Any other list is applied only
   * when it is complete.
   */
  async #listPage(next: string | undefined, cycle: Cycle): Promise<ListMetadata> {
    const { path, fieldSelector, list, max } = this.#resource;
    const { answerMs, listMs } = this.#timing;
    const paging = list === 'pages' ? { limit: PAGE_OBJECTS, continue: next } : { resourceVersion: 0 };
    await using call = await this.#requests.send(
      'list',
      withQuery(path, { fieldSelector, ...this.#form.query, ...paging }),
    );
    // The total time is limited too, because a server could send data slowly without ever ending.
    const deadline = setTimeout(() => call.end(), listMs);
    const page: [uid: string, object: T | undefined][] = [];
    const take = (item: unknown) => {
      if (this.#known.listed + page.length >= max) throw this.#tooMany();
      const object = this.#form.objectIn(item);
      const uid = uidOf(object);
      const trimmed = this.#resource.trim(object as never);
      if (list === 'stream') this.#set(uid, trimmed, false);
      else page.push([uid, trimmed]);
    };
    try {
      const metadata = await readList(call.body(answerMs), take, this.#form);
      for (const [uid, object] of page) {
        if (cycle.isDue) await cycle.pause();
        this.#set(uid, object, false);
      }
      return metadata;
    } finally {
      clearTimeout(deadline);
    }
  }

  /**
   * Follows changes on a stream. Resolves when the stream ends normally or its connection breaks. The next stream
   * continues from the last change.
   */
  async #watch(): Promise<void> {
    const { path, fieldSelector } = this.#resource;
    const streamMs = jittered(this.#timing.streamMs, Math.random());
    const query = {
      fieldSelector,
      ...this.#form.query,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version,
      timeoutSeconds: Math.max(1, Math.round(streamMs / 1000)),
    };
    const shape = { type: true, object: { ...this.#form.eventShape, ...STATUS } } as const;
    await using call = await this.#requests.send('watch', withQuery(path, query));
    this.#heard();
    const openedMs = this.#clock.now();
    // This ends the stream even if the server ignores timeoutSeconds.
    const deadline = setTimeout(() => call.end(), streamMs + this.#timing.answerMs);
    try {
      for await (const event of jsonLines(call.body(this.#timing.idleMs), shape)) {
        this.#heard();
        this.#take(event as WatchEvent);
      }
    } catch (error) {
      // All changes that were received have been applied, so the next stream can continue from there.
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
        for (const each of this.#form.objectsIn(object)) {
          this.#set(uidOf(each), this.#resource.trim(each as never), true);
        }
        break;
      case 'DELETED':
        for (const each of this.#form.objectsIn(object)) this.#delete(uidOf(each));
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

  /** Converts the Status object with which the server ended a stream to an error. */
  #endedBy({ code, message }: NonNullable<WatchEvent['object']>): ApiError {
    const status = statusOf(code);
    this.#requests.count('watch', String(status ?? 'error'));
    const words = [status, typeof message === 'string' ? oneLine(message) : undefined];
    return new ApiError(status ?? 0, `ended the stream: ${words.filter((word) => word !== undefined).join(' ')}`);
  }

  /** @param isNews whether the object comes from a stream; false for an object of the list in progress */
  #set(uid: string, object: T | undefined, isNews: boolean): void {
    if (object === undefined) {
      this.#delete(uid);
      return;
    }
    if (!this.#known.has(uid)) this.#makeRoom(isNews);
    this.#known.add(uid, !isNews);
    this.#follower.set(uid, object, isNews);
  }

  /** Limits the number of objects. @throws if a stream has added too many */
  #makeRoom(isNews: boolean): void {
    const { max } = this.#resource;
    if (isNews && this.#known.size >= max) throw this.#tooMany();
    if (isNews || this.#known.size < 2 * max) return;
    // These objects were added by an earlier list that was incomplete.
    for (const uid of this.#known.unlisted()) this.#delete(uid);
  }

  #tooMany(): Error {
    const { max, name } = this.#resource;
    return new Error(`has more than ${max} ${name}`);
  }

  #delete(uid: string): void {
    if (this.#known.delete(uid)) this.#follower.delete(uid);
  }
}

function isCertificateFault(error: Error): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return /CERT|^ERR_(TLS|SSL)|SIGNATURE/.test(code);
}
