import type { SinkStatus } from '#api/sinks.ts';
import type { DropReason } from '#api/words.ts';
import { withDeadline } from '#core/deadline.ts';
import type { BatchLimits, RecordBuffer } from './buffer.ts';
import type { Ledger } from './ledger.ts';
import type { LaneRecord } from './record.ts';
import { type Sink, Unavailable } from './sink.ts';
import { Told } from './told.ts';

/**
 * A batch is written as soon as it reaches this number of records or bytes, or its first record reaches the age
 * `ageMs`.
 */
export interface BatchOptions extends BatchLimits {
  readonly ageMs: number;
}

export interface SinkQueueOptions {
  readonly name: string;
  /** Name for the records in log messages, such as "events". */
  readonly what?: string;
  readonly ledger: Ledger;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
/** Longest pause that a sink can request. */
const RETRY_AFTER_MAX_MS = 300_000;
/** Longest pause between writes during shutdown. */
const RETRY_LAST_MS = 200;
/** Milliseconds after which the sink's state is `failed` if a write has not returned. */
const STALLED_MS = 10_000;
/** Milliseconds of the shutdown deadline that are reserved for the steps after the last write. */
const LAST_MS = 500;
/** Milliseconds to wait for an aborted write to return during shutdown. */
const LAST_ABORT_MS = 200;
/** Maximum number of records to hold while a spool is opened, which takes at most a second. */
const HELD_MAX = 10_000;
/** Milliseconds to wait for an aborted write to return. After that, its result is ignored. */
const ABORT_MS = 500;

/** A write of one batch in progress, with the records whose outcome is not known yet. */
class Attempt {
  readonly controller = new AbortController();
  readonly sinceMs = performance.now();
  readonly open: Set<LaneRecord>;
  hasSettled = false;

  constructor(batch: readonly LaneRecord[]) {
    this.open = new Set(batch);
  }

  /** Settles records, and returns those that were not settled before. */
  settle(records: readonly LaneRecord[]): LaneRecord[] {
    const settled = records.filter((record) => this.open.delete(record));
    if (settled.length > 0) this.hasSettled = true;
    return settled;
  }
}

/**
 * A bounded queue in front of a sink, so that a slow sink does not block the other sinks. Failed writes are retried
 * with backoff. Every dropped record is counted.
 */
export class SinkQueue {
  readonly #options: SinkQueueOptions;
  #sink: Sink;
  #buffer: RecordBuffer;
  #batch: BatchOptions;
  #attempt: Attempt | undefined;
  #running: Promise<void> | undefined;
  /** Ends the current pause of the loop. */
  #wake: () => void = () => undefined;
  #oldestMs = 0;
  #failures = 0;
  #retries = 0;
  #reason = '';
  /** Start of the current state, on the wall clock and on a monotonic clock. */
  #since = { wallMs: Date.now(), ms: performance.now() };
  #untilMs: number | undefined;
  #rejected: SinkStatus['rejected'] = null;
  readonly #told = new Told();
  /** Whether the current failure has been logged. */
  #isTold = false;
  #paused = false;
  /** Records that arrived while the buffer was being replaced; undefined if it is not being replaced. */
  #held: LaneRecord[] | undefined;
  /** Number of the current loop. An earlier loop stops when its hanging write returns. */
  #generation = 0;
  #closing = false;
  #ended = false;

  constructor(sink: Sink, buffer: RecordBuffer, batch: BatchOptions, options: SinkQueueOptions) {
    this.#options = options;
    this.#sink = sink;
    this.#buffer = buffer;
    this.#batch = batch;
    this.#start();
  }

  get name(): string {
    return this.#options.name;
  }

  get #what(): string {
    return this.#options.what ?? 'events';
  }

  offer(records: readonly LaneRecord[]): void {
    if (this.#closing) return;
    for (const record of records) this.#options.ledger.accepted(record, this.name);
    if (this.#held !== undefined) {
      this.#hold(this.#held, records);
      return;
    }
    if (this.#buffer.length === 0) this.#oldestMs = performance.now();
    this.#buffer.push(records);
    this.#start();
    if (this.#failures === 0 && this.#isDue()) this.#wake();
  }

  status(): SinkStatus {
    const stalledMs = this.#attempt === undefined ? 0 : performance.now() - this.#attempt.sinceMs;
    const stalled = stalledMs > STALLED_MS ? `a write has taken ${Math.round(stalledMs / 1_000)} s so far` : '';
    const spool = this.#buffer.failure === '' ? '' : `cannot write the spool: ${this.#buffer.failure}`;
    const reason = this.#reason || stalled || spool;
    return {
      name: this.name,
      state: reason === '' ? 'running' : 'failed',
      reason,
      since: new Date(this.#since.wallMs).toISOString(),
      until: this.#untilMs === undefined ? null : new Date(this.#untilMs).toISOString(),
      pending: this.#buffer.length,
      pendingBytes: this.#buffer.bytes,
      retries: this.#retries,
      rejected: this.#rejected,
    };
  }

  /**
   * Replaces the sink. The waiting records go to the new sink.
   * @param exchange returns the buffer to use from now on, which contains the waiting records
   */
  async replace(
    sink: Sink,
    batch: BatchOptions,
    exchange: (buffer: RecordBuffer) => Promise<RecordBuffer> = async (buffer) => buffer,
  ): Promise<void> {
    this.#paused = true;
    await this.#interrupt();
    await this.#sink.close();
    this.#sink = sink;
    this.#batch = batch;
    this.#told.clear();
    this.#isTold = false;
    this.#held = [];
    this.#buffer = await exchange(this.#buffer);
    this.#buffer.push(this.#held);
    this.#held = undefined;
    this.#failures = 0;
    this.#setReason('');
    this.#paused = false;
    this.#start();
  }

  /**
   * Writes waiting records until the deadline, and returns even if a step hangs. Records that are left are dropped or
   * stay in the spool.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#closing = true;
    this.#wake();
    const writeMs = Math.max(0, deadlineMs - LAST_MS);
    await withDeadline(this.#running ?? Promise.resolve(), writeMs, 'late').catch(() => undefined);
    this.#ended = true;
    await this.#interrupt(LAST_ABORT_MS);
    const leftMs = LAST_MS - LAST_ABORT_MS;
    await Promise.all([
      this.#buffer.close(leftMs),
      withDeadline(this.#sink.close(), leftMs, 'late').catch(() => undefined),
    ]);
  }

  #hold(held: LaneRecord[], records: readonly LaneRecord[]): void {
    const room = HELD_MAX - held.length;
    held.push(...records.slice(0, room));
    this.#drop(records.slice(room), 'queue_full');
  }

  /** Stops the loop and aborts the current write. Its unsettled records return to the buffer. */
  async #interrupt(abortMs = ABORT_MS): Promise<void> {
    const attempt = this.#attempt;
    attempt?.controller.abort(new Unavailable('interrupted'));
    this.#wake();
    await withDeadline(this.#running ?? Promise.resolve(), abortMs, 'late').catch(() => undefined);
    if (attempt !== undefined && this.#attempt === attempt) this.#putBack(attempt);
    this.#generation++;
    this.#running = undefined;
  }

  #start(): void {
    if (this.#running !== undefined || this.#paused || this.#ended || this.#buffer.length <= 0) return;
    const generation = ++this.#generation;
    const running = this.#loop(() => generation === this.#generation && !this.#paused && !this.#ended).finally(() => {
      if (this.#running !== running) return;
      this.#running = undefined;
      this.#start();
    });
    this.#running = running;
  }

  async #loop(isWanted: () => boolean): Promise<void> {
    while (this.#buffer.length > 0 && isWanted()) {
      if (!this.#isDue()) {
        await this.#pause(this.#oldestMs + this.#batch.ageMs - performance.now());
        continue;
      }
      const retryMs = await this.#write(isWanted);
      if (retryMs === undefined) continue;
      await this.#pause(this.#closing ? Math.min(retryMs, RETRY_LAST_MS) : retryMs);
      this.#untilMs = undefined;
      this.#retries++;
    }
  }

  #isDue(): boolean {
    const { records, bytes, ageMs } = this.#batch;
    if (this.#closing || this.#failures > 0) return true;
    return this.#buffer.length >= records || this.#buffer.bytes >= bytes || performance.now() - this.#oldestMs >= ageMs;
  }

  /** Writes one batch. Returns the milliseconds to wait before the next write, or undefined to continue at once. */
  async #write(isWanted: () => boolean): Promise<number | undefined> {
    const buffer = this.#buffer;
    const batch = await buffer.take(this.#batch);
    if (!isWanted()) {
      buffer.settle(batch);
      return undefined;
    }
    // The spool had no readable records, because they were damaged or its file system hangs.
    if (batch.length === 0) return RETRY_LAST_MS;
    const attempt = new Attempt(batch);
    this.#attempt = attempt;
    let retryMs: number | undefined;
    try {
      await this.#sink.write(
        batch,
        {
          delivered: (records) => this.#deliver(attempt.settle(records)),
          rejected: (records, why) => this.#reject(attempt.settle(records), why),
        },
        attempt.controller.signal,
      );
      this.#deliver(attempt.settle(batch));
      this.#succeeded();
    } catch (error) {
      if (this.#attempt !== attempt) return undefined;
      retryMs = this.#failed(attempt, error as Error);
    }
    if (this.#attempt === attempt) this.#putBack(attempt);
    return retryMs;
  }

  #putBack(attempt: Attempt): void {
    this.#attempt = undefined;
    const left = [...attempt.open];
    attempt.open.clear();
    this.#buffer.settle(left);
    // The remaining records arrived after the write started, or are part of a backlog that is due anyway.
    this.#oldestMs = attempt.sinceMs;
  }

  #succeeded(): void {
    if (this.#isTold) {
      const seconds = Math.round((performance.now() - this.#since.ms) / 1_000);
      this.#options.log('info', `${this.#what} reach ${this.name} again, after ${seconds} s`);
    }
    this.#failures = 0;
    this.#isTold = false;
    this.#setReason('');
  }

  #failed(attempt: Attempt, error: Error): number | undefined {
    if (attempt.controller.signal.aborted) return undefined;
    if (!(error instanceof Unavailable)) {
      // Any other error is a bug in netsonde, and every retry would fail in the same way.
      const records = attempt.settle([...attempt.open]);
      this.#drop(records, 'write_failed');
      this.#options.log(
        'error',
        `${records.length} ${this.#what} could not be written to ${this.name}: ${error.stack}`,
      );
      return undefined;
    }
    // A sink that accepts part of a batch works, so the backoff does not grow.
    const isNew = this.#told.isNew(error.message, this.#failures > 0);
    this.#failures = attempt.hasSettled ? 1 : this.#failures + 1;
    if (isNew) {
      this.#isTold = true;
      this.#options.log('error', `${this.#what} do not reach ${this.name}: ${error.message}`);
    }
    this.#setReason(error.message);
    const growing = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (this.#failures - 1));
    // Jitter prevents all agents from reconnecting to a recovered server at the same time.
    const retryMs = Math.max(growing * (0.5 + Math.random() / 2), error.retryAfterMs * (1 + Math.random() / 10));
    this.#untilMs = Date.now() + Math.min(retryMs, RETRY_AFTER_MAX_MS);
    return Math.min(retryMs, RETRY_AFTER_MAX_MS);
  }

  #setReason(reason: string): void {
    if ((reason === '') !== (this.#reason === '')) {
      this.#since = { wallMs: Date.now(), ms: performance.now() };
    }
    this.#reason = reason;
    if (reason === '') this.#untilMs = undefined;
  }

  #deliver(records: readonly LaneRecord[]): void {
    for (const record of records) this.#options.ledger.delivered(record, this.name);
  }

  #reject(records: readonly LaneRecord[], why: string): void {
    if (records.length === 0) return;
    if (this.#told.isNew(`refused: ${why}`))
      this.#options.log('error', `${this.name} rejected some ${this.#what}: ${why}`);
    this.#rejected = { at: new Date().toISOString(), why };
    this.#drop(records, 'rejected');
  }

  #drop(records: readonly LaneRecord[], reason: DropReason): void {
    for (const record of records) this.#options.ledger.dropped(record, this.name, reason);
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, pauseMs));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
