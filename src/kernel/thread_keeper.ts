import { withDeadline } from '#core/deadline.ts';
import type { ThreadHandle } from './thread_handle.ts';

export interface ThreadKeeperOptions {
  /** Starts a thread. `lost` has to be called when it has ended or has thrown an error. */
  readonly open: (lost: (why: string) => void) => ThreadHandle;
  /** Sends the current settings to a thread that has started. */
  readonly started: (thread: ThreadHandle) => Promise<void>;
  /** Called when the current thread is abandoned. */
  readonly lost: () => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Milliseconds without a response after which a thread is abandoned and replaced. */
  readonly hangMs: number;
}

/** Interval of pings while a request is unanswered. An idle thread is pinged every `hangMs` milliseconds. */
const PING_EVERY_MS = 1_000;
const START_DEADLINE_MS = 30_000;
/** Maximum milliseconds to wait for a thread to close its probes, and after that for it to end. */
const CLOSE_MS = 2_000;
const TERMINATE_MS = 300;
/** If a ping has been unanswered for this number of milliseconds, the shutdown does not wait for the thread. */
const SILENT_MS = 1_000;
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;
/** Age in milliseconds from which the failure of a thread no longer counts as a failed start. */
const STABLE_MS = 30_000;
/** Number of hung threads at which no new thread is started. A thread that hangs in the kernel cannot be terminated. */
const STUCK_MAX = 3;

/**
 * Keeps one kernel thread running. Pings the thread, and replaces it if it does not respond. This is necessary because
 * a synchronous read that hangs in the kernel cannot be cancelled. If a thread fails to start, the start is retried
 * with backoff.
 */
export class ThreadKeeper implements AsyncDisposable {
  readonly #options: ThreadKeeperOptions;
  /** Abandoned threads that have not ended. */
  readonly #stuck = new Set<ThreadHandle>();
  #thread: ThreadHandle | undefined;
  #starting: ThreadHandle | undefined;
  #restarts = 0;
  #restartMs = RESTART_FIRST_MS;
  #restartTimer: NodeJS.Timeout | undefined;
  #pulseTimer: NodeJS.Timeout | undefined;
  /** Milliseconds until the next ping. */
  #pulseMs = 0;
  /** Milliseconds of the current silence of the thread in which it, or this thread, had no CPU. */
  #starvedMs = 0;
  #isClosed = false;

  constructor(options: ThreadKeeperOptions) {
    this.#options = options;
  }

  /** The current thread; undefined while it is being replaced. */
  get thread(): ThreadHandle | undefined {
    return this.#thread;
  }

  /** Number of times that the thread was replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Number of abandoned threads that have not ended. */
  get stuckThreads(): number {
    return this.#stuck.size;
  }

  /** @throws if the first thread fails to start; later threads are retried */
  async start(): Promise<void> {
    await this.#start();
    this.#watchPulse();
  }

  /** Called after a request was sent, so that a ping follows soon. */
  asked(): void {
    if (this.#pulseMs === this.#options.hangMs) this.#watchPulse();
  }

  /** Lets a responsive thread close its probes, and terminates it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#pulseTimer);
    clearTimeout(this.#restartTimer);
    if (this.#thread !== undefined) {
      const closeMs = this.#thread.silentMs > SILENT_MS ? 0 : Math.min(this.#options.hangMs, CLOSE_MS);
      await withDeadline(this.#thread.ask('close', null), closeMs, 'no response').catch((error: Error) =>
        this.#options.log('warn', `the kernel thread did not close: ${error.message}`),
      );
    }
    const thread = this.#thread ?? this.#starting;
    this.#thread = undefined;
    if (thread === undefined) return;
    // The wait is limited, because a hanging thread may never end.
    await withDeadline(this.#end(thread, new Error('closed')), TERMINATE_MS, 'stuck').catch(() => undefined);
  }

  async #start(): Promise<void> {
    const thread = this.#options.open((why) => this.#lost(thread, why));
    this.#starting = thread;
    try {
      await withDeadline(thread.ready, START_DEADLINE_MS, `not ready within ${START_DEADLINE_MS / 1000} s`);
    } catch (error) {
      if (!this.#isClosed) void this.#end(thread, error as Error);
      throw error;
    } finally {
      this.#starting = undefined;
    }
    if (this.#isClosed) throw new Error('closed');
    this.#thread = thread;
    await this.#options.started(thread);
  }

  #watchPulse(): void {
    if (this.#isClosed) return;
    const { hangMs } = this.#options;
    clearTimeout(this.#pulseTimer);
    this.#pulseMs = this.#thread?.owesAnswer ? Math.min(PING_EVERY_MS, hangMs / 2) : hangMs;
    const dueMs = performance.now() + this.#pulseMs;
    this.#pulseTimer = setTimeout(() => {
      const lateMs = Math.max(0, performance.now() - dueMs);
      // The next check is scheduled before the ping is sent, because an unanswered ping would select the short
      // interval.
      this.#watchPulse();
      this.#checkPulse(lateMs);
    }, this.#pulseMs);
    this.#pulseTimer.unref();
  }

  /**
   * Time in which the machine was too busy to run the thread does not count as silence.
   * @param lateMs milliseconds by which this check is late. They do not count either, because the answer may be waiting
   * to be received.
   */
  #checkPulse(lateMs: number): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    const { silentMs } = thread;
    const starvedMs = Math.max(lateMs, thread.takeStarvedMs());
    this.#starvedMs = silentMs === 0 ? 0 : this.#starvedMs + starvedMs;
    if (silentMs - this.#starvedMs > this.#options.hangMs) {
      this.#lost(thread, `did not respond for ${Math.round(silentMs)} ms`);
      return;
    }
    if (silentMs === 0 && thread.ageMs > STABLE_MS) this.#restartMs = RESTART_FIRST_MS;
    thread.ping();
  }

  /** Abandons the thread if it is the current one, and schedules the start of a new one. */
  #lost(thread: ThreadHandle, why: string): void {
    if (thread !== this.#thread || this.#isClosed) return;
    this.#options.log('error', `replacing the kernel thread, which ${why}`);
    this.#thread = undefined;
    this.#options.lost();
    void this.#end(thread, new Error(`the kernel thread ${why}`));
    this.#scheduleRestart();
  }

  #end(thread: ThreadHandle, reason: Error): Promise<unknown> {
    if (!thread.hasEnded) {
      this.#stuck.add(thread);
      void thread.ended.then(() => this.#stuck.delete(thread));
    }
    return thread.end(reason);
  }

  /**
   * Schedules one restart. Has no effect if a restart is already scheduled, for example for a thread that is lost while
   * it receives its settings.
   */
  #scheduleRestart(): void {
    if (this.#restartTimer !== undefined) return;
    this.#restartTimer = setTimeout(() => void this.#restart(), this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS);
  }

  async #restart(): Promise<void> {
    this.#restartTimer = undefined;
    const { log } = this.#options;
    if (this.#stuck.size >= STUCK_MAX) {
      log('error', `${this.#stuck.size} kernel threads hang, so no new one is started until one of them ends`);
      this.#scheduleRestart();
      return;
    }
    try {
      this.#restarts++;
      await this.#start();
      log('info', 'a new kernel thread is running');
    } catch (error) {
      if (this.#isClosed) return;
      log('error', `the kernel thread could not be started: ${(error as Error).message}`);
      if (this.#thread === undefined) this.#scheduleRestart();
    }
  }
}
