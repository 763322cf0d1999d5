import { withDeadline } from '#core/deadline.ts';
import type { ThreadHandle } from './thread_handle.ts';

export interface ThreadKeeperOptions {
  /** Starts a thread that calls `lost` when it ended or threw. */
  readonly open: (lost: (why: string) => void) => ThreadHandle;
  /** Tells a thread that has started everything that it has to know. */
  readonly started: (thread: ThreadHandle) => Promise<void>;
  /** The thread in use was given up. */
  readonly lost: () => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** A thread that does not answer for this time, in milliseconds, is given up and replaced. */
  readonly hangMs: number;
}

/** A thread that owes an answer is looked at so often; one that is asked nothing, once in the time of a hang. */
const PING_EVERY_MS = 1_000;
const START_DEADLINE_MS = 30_000;
/** A thread closes its probes within this time, and ends within that one, unless it is stuck. */
const CLOSE_MS = 2_000;
const TERMINATE_MS = 300;
/** A thread that owes an answer for so long is not waited for when the agent ends. */
const SILENT_MS = 1_000;
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;
/** A thread of this age has not failed at its start. */
const STABLE_MS = 30_000;
/** Threads that are stuck in the kernel cannot be ended. With this number of them another one would not do better. */
const STUCK_MAX = 3;

/**
 * Keeps one kernel thread running: watches that it answers, and replaces it when it does not, since a synchronous read of the kernel
 * that hangs cannot be interrupted. Threads that fail at their start are retried with growing pauses.
 */
export class ThreadKeeper implements AsyncDisposable {
  readonly #options: ThreadKeeperOptions;
  /** Given up, and not ended. */
  readonly #stuck = new Set<ThreadHandle>();
  #thread: ThreadHandle | undefined;
  #starting: ThreadHandle | undefined;
  #restarts = 0;
  #restartMs = RESTART_FIRST_MS;
  #restartTimer: NodeJS.Timeout | undefined;
  #pulseTimer: NodeJS.Timeout | undefined;
  /** Pause before the next look at the thread, in milliseconds; 0 where none is due. */
  #pulseMs = 0;
  #isClosed = false;

  constructor(options: ThreadKeeperOptions) {
    this.#options = options;
  }

  /** Undefined while the thread is being replaced. */
  get thread(): ThreadHandle | undefined {
    return this.#thread;
  }

  /** How often the thread was replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Threads that were given up and have not ended. */
  get stuckThreads(): number {
    return this.#stuck.size;
  }

  /** @throws what keeps the first thread from starting: later ones are retried */
  async start(): Promise<void> {
    await this.#start();
    this.#watchPulse();
  }

  /** The thread was asked something: it is looked at soon. */
  asked(): void {
    if (this.#pulseMs === this.#options.hangMs) this.#watchPulse();
  }

  /** Lets the thread close every probe, where it answers, and ends it. */
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
    // One that is stuck stays so: then stuckThreads says it.
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
      // Before the ping, which a thread that is well answers long before the next look.
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

  /** The thread in use is of no use any more. */
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

  /** Once, also where a thread is lost while it is told what it has to know, which is a failed start as well. */
  #scheduleRestart(): void {
    if (this.#restartTimer !== undefined) return;
    this.#restartTimer = setTimeout(() => void this.#restart(), this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS);
  }

  async #restart(): Promise<void> {
    this.#restartTimer = undefined;
    const { log } = this.#options;
    if (this.#stuck.size >= STUCK_MAX) {
      log('error', `${this.#stuck.size} kernel threads hang: no other is started before one ends`);
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
