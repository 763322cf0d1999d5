import { withDeadline } from '#core/deadline.ts';
import type { ThreadHandle } from './thread_handle.ts';

export interface ThreadKeeperOptions {
  /** Starts a thread that calls `lost` when it ended or threw. */
  readonly open: (lost: (why: string) => void) => ThreadHandle;
  /** Sends a thread that has started all current settings. */
  readonly started: (thread: ThreadHandle) => Promise<void>;
  /** Called when the thread in use was abandoned. */
  readonly lost: () => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Milliseconds without an answer after which a thread is abandoned and replaced. */
  readonly hangMs: number;
}

/** Interval of the checks of a thread that owes an answer; an idle thread is checked once in the time of a hang. */
const PING_EVERY_MS = 1_000;
const START_DEADLINE_MS = 30_000;
/** Times within which a thread closes its probes and then ends, unless it is stuck. */
const CLOSE_MS = 2_000;
const TERMINATE_MS = 300;
/** Silence after which a thread that owes an answer is not waited for when the agent ends. */
const SILENT_MS = 1_000;
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;
/** Age from which a failure of a thread does not count as a failed start. */
const STABLE_MS = 30_000;
/**
 * Number of stuck threads at which no other is started: a thread that is stuck in the kernel cannot be terminated, and another would
 * do no better.
 */
const STUCK_MAX = 3;

/**
 * Keeps one kernel thread running: checks that it answers, and replaces it when it does not, since a synchronous read of the kernel
 * that hangs cannot be interrupted. Threads that fail at their start are retried with growing pauses.
 */
export class ThreadKeeper implements AsyncDisposable {
  readonly #options: ThreadKeeperOptions;
  /** Threads that were abandoned and have not ended. */
  readonly #stuck = new Set<ThreadHandle>();
  #thread: ThreadHandle | undefined;
  #starting: ThreadHandle | undefined;
  #restarts = 0;
  #restartMs = RESTART_FIRST_MS;
  #restartTimer: NodeJS.Timeout | undefined;
  #pulseTimer: NodeJS.Timeout | undefined;
  /** Milliseconds until the next check of the thread; 0 where none is due. */
  #pulseMs = 0;
  #isClosed = false;

  constructor(options: ThreadKeeperOptions) {
    this.#options = options;
  }

  /** Undefined while the thread is being replaced. */
  get thread(): ThreadHandle | undefined {
    return this.#thread;
  }

  /** Number of times that the thread was replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Number of threads that were abandoned and have not ended. */
  get stuckThreads(): number {
    return this.#stuck.size;
  }

  /** @throws the error that keeps the first thread from starting; later threads are retried */
  async start(): Promise<void> {
    await this.#start();
    this.#watchPulse();
  }

  /** Called when the thread was asked something: it is checked soon. */
  asked(): void {
    if (this.#pulseMs === this.#options.hangMs) this.#watchPulse();
  }

  /** Lets the thread close every probe, where it answers, and terminates it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#pulseTimer);
    clearTimeout(this.#restartTimer);
    if (this.#thread !== undefined) {
      const closeMs = this.#thread.silentMs > SILENT_MS ? 0 : Math.min(this.#options.hangMs, CLOSE_MS);
      await withDeadline(this.#thread.ask('close', null), closeMs, 'no answer').catch((error: Error) =>
        this.#options.log('warn', `the kernel thread did not close: ${error.message}`),
      );
    }
    const thread = this.#thread ?? this.#starting;
    this.#thread = undefined;
    if (thread === undefined) return;
    // A stuck thread stays so, and is then counted by stuckThreads.
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
    this.#pulseTimer = setTimeout(() => {
      // The next check is scheduled before the ping, which a healthy thread answers long before that check.
      this.#watchPulse();
      this.#checkPulse();
    }, this.#pulseMs);
    this.#pulseTimer.unref();
  }

  #checkPulse(): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    const { silentMs } = thread;
    if (silentMs > this.#options.hangMs) {
      this.#lost(thread, `did not answer for ${Math.round(silentMs)} ms`);
      return;
    }
    if (silentMs === 0 && thread.ageMs > STABLE_MS) this.#restartMs = RESTART_FIRST_MS;
    thread.ping();
  }

  /** Abandons the thread in use. */
  #lost(thread: ThreadHandle, why: string): void {
    if (thread !== this.#thread || this.#isClosed) return;
    this.#options.log('error', `the kernel thread ${why}: it is replaced`);
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

  /** Schedules one restart, also where a thread is lost while it receives its settings, which is a failed start as well. */
  #scheduleRestart(): void {
    if (this.#restartTimer !== undefined) return;
    this.#restartTimer = setTimeout(() => void this.#restart(), this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS);
  }

  async #restart(): Promise<void> {
    this.#restartTimer = undefined;
    const { log } = this.#options;
    if (this.#stuck.size >= STUCK_MAX) {
      log('error', `${this.#stuck.size} kernel threads hang: no other thread is started until one ends`);
      this.#scheduleRestart();
      return;
    }
    try {
      this.#restarts++;
      await this.#start();
      log('info', 'a new kernel thread runs');
    } catch (error) {
      if (this.#isClosed) return;
      log('error', `the kernel thread could not be started: ${(error as Error).message}`);
      if (this.#thread === undefined) this.#scheduleRestart();
    }
  }
}
