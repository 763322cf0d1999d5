import type { EdgeSummary } from '#api/flows.ts';
import { followStream, RefusedError } from '../api.ts';
import { RecordLog } from './record_log.ts';

const RETRY_MS = 1_000;
const RETRY_MAX_MS = 10_000;
/** Number of past records that the list starts with. */
const BEGIN_WITH = 50;
/** Minimum time between two updates of the shown records. */
const SHOW_EVERY_MS = 500;

/** Follows a stream of records until disposed, and retries after a failure. */
export class RecordStream<Value> implements Disposable {
  readonly log = new RecordLog<Value>();
  /** Whether the stream is connected. */
  isOpen = false;
  /** Reason why no records arrive although the agent responds; empty if there is none. */
  failure = '';
  readonly #path: string;
  readonly #changed: () => void;
  readonly #closed = new AbortController();
  #connection: AbortController | undefined;
  #retryMs = RETRY_MS;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #showTimer: ReturnType<typeof setTimeout> | undefined;

  /** @param path path of the stream, with its query */
  constructor(path: string, changed: () => void) {
    this.#path = path;
    this.#changed = changed;
    document.addEventListener('visibilitychange', () => this.#wake(), { signal: this.#closed.signal });
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    this.#connection?.abort();
    clearTimeout(this.#retry);
    clearTimeout(this.#showTimer);
  }

  /** Connects while the page is visible, and disconnects while it is not. */
  #wake(): void {
    clearTimeout(this.#retry);
    this.#connection?.abort();
    this.#connection = undefined;
    if (!document.hidden) void this.#follow();
  }

  async #follow(): Promise<void> {
    const connection = new AbortController();
    this.#connection = connection;
    try {
      await followStream<Value>({
        path: this.#path,
        lastId: this.log.lastId,
        signal: connection.signal,
        opened: () => {
          this.#retryMs = RETRY_MS;
          this.isOpen = true;
          this.failure = '';
          this.#show();
        },
        take: (records) => {
          this.log.add(records);
          this.#show();
        },
      });
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.failure = error.refusal.kind === 'failed' ? error.refusal.message : '';
    }
    if (this.#connection !== connection || this.#closed.signal.aborted) return;
    this.isOpen = false;
    this.#show();
    this.#retry = setTimeout(() => this.#wake(), this.#retryMs);
    this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
  }

  #show(): void {
    this.#showTimer ??= setTimeout(() => {
      this.#showTimer = undefined;
      this.#changed();
    }, SHOW_EVERY_MS);
  }
}

/** Returns the query that selects the records of an edge. If the owner is unknown, it does not filter by owner. */
export function edgeQuery({
  namespace,
  pod,
  role,
  peer,
  port,
}: Pick<EdgeSummary, 'namespace' | 'pod' | 'role' | 'peer' | 'port'>): URLSearchParams {
  return new URLSearchParams({
    since: '10m',
    last: String(BEGIN_WITH),
    ...(namespace === null ? {} : { namespace }),
    ...(pod === null ? {} : { pod }),
    role,
    peer,
    ...(port === null ? {} : { port: String(port) }),
  });
}
