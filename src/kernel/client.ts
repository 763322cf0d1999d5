import { Worker } from 'node:worker_threads';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { Format } from '#collectors/exposition.ts';
import { withDeadline } from '#core/deadline.ts';
import type { PodName, PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import { KernelLedger } from './kernel_ledger.ts';
import type { FromKernel, KernelOptions, Page, Question, QuestionName, Questions } from './messages.ts';

export interface KernelClientOptions {
  readonly kernel: KernelOptions;
  readonly events: (events: readonly EventRecord[]) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** What the Kubernetes API says of the Pods of this node, for a thread that starts. */
  readonly pods?: () => readonly PodName[];
  /** A thread that does not answer for so long, in milliseconds, is given up and replaced. */
  readonly hangMs?: number;
}

const HANG_MS = 5_000;
const PING_EVERY_MS = 1_000;
const START_DEADLINE_MS = 30_000;
/** A thread ends within this time, unless it is stuck. */
const TERMINATE_MS = 1_000;
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;
/** A thread that has lived so long has not failed at its start. */
const STABLE_MS = 30_000;
/** Threads that are stuck in the kernel cannot be ended. With so many of them another one would not do better. */
const STUCK_MAX = 3;

/** A page and how old it is: more than zero where the kernel thread does not answer. */
export interface AgedPage {
  readonly page: Page;
  readonly ageSeconds: number;
}

interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** One worker thread, and the questions that it has not answered. */
class Thread {
  readonly worker: Worker;
  readonly pending = new Map<number, Pending>();
  readonly startedMs = performance.now();
  ended = false;
  /** When the oldest unanswered ping was sent. */
  pingedMs: number | undefined;

  constructor(options: KernelOptions) {
    const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './kernel_thread.js';
    this.worker = new Worker(new URL(file, import.meta.url), { workerData: options, name: 'kernel' });
  }

  giveUp(reason: Error): void {
    for (const { reject } of this.pending.values()) reject(reason);
    this.pending.clear();
  }
}

/**
 * The main thread's side of the door. Starts the kernel thread, watches that it answers, and replaces it when it does
 * not: a synchronous read of the kernel that hangs cannot be interrupted. Meanwhile the last good page is served, with its
 * age.
 */
export class KernelClient implements AsyncDisposable {
  readonly #options: KernelClientOptions;
  readonly #hangMs: number;
  readonly #lastPages = new Map<Format, { readonly page: Page; readonly atMs: number }>();
  readonly #stuck = new Set<Worker>();
  readonly #ledger = new KernelLedger();
  #thread: Thread | undefined;
  #desired: DesiredKernel | undefined;
  #podLabels: PodLabels = {};
  #nextId = 1;
  #restarts = 0;
  #restartMs = RESTART_FIRST_MS;
  #restartTimer: NodeJS.Timeout | undefined;
  #pingTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: KernelClientOptions) {
    this.#options = options;
    this.#hangMs = options.hangMs ?? HANG_MS;
  }

  /** @throws what keeps the first kernel thread from starting: later ones are tried again and again */
  async start(): Promise<void> {
    await this.#startThread();
    this.#pingTimer = setInterval(() => this.#checkPulse(), Math.min(PING_EVERY_MS, this.#hangMs / 2));
    this.#pingTimer.unref();
  }

  /** How often the thread was replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Threads that were given up and have not ended. */
  get stuckThreads(): number {
    return this.#stuck.size;
  }

  /** Asks for this; a thread that is started later gets the same wish. */
  async configure(desired: DesiredKernel): Promise<void> {
    this.#desired = desired;
    if (this.#thread !== undefined) await this.ask('configure', desired);
  }

  /** Shows these labels on every Pod. */
  async labelPods(labels: PodLabels): Promise<void> {
    this.#podLabels = labels;
    if (this.#thread !== undefined) await this.ask('labelPods', labels);
  }

  /** Tells the thread of Pods; one that is started later asks for all of them. */
  async namePods(update: PodsUpdate): Promise<void> {
    if (this.#thread !== undefined) await this.ask('namePods', update);
  }

  /**
   * A fresh page, or the last one where the thread does not give one in time.
   * @throws where there is none of either
   */
  async page(format: Format, deadlineMs: number): Promise<AgedPage> {
    try {
      // A thread that owes an answer for a while would only make the scraper wait.
      const owesMs = this.#thread?.pingedMs === undefined ? 0 : performance.now() - this.#thread.pingedMs;
      if (owesMs > this.#hangMs / 2) throw new Error('the kernel thread does not answer');
      const answer = await withDeadline(this.ask('scrape', { format }), deadlineMs, 'the page was not ready in time');
      const page = { ...answer, ledger: this.#ledger.total(answer.ledger) };
      this.#lastPages.set(format, { page, atMs: performance.now() });
      return { page, ageSeconds: 0 };
    } catch (error) {
      const last = this.#lastPages.get(format);
      if (last === undefined) throw error;
      return { page: last.page, ageSeconds: (performance.now() - last.atMs) / 1000 };
    }
  }

  /** What became of events before they left the kernel thread, over all threads. @throws as {@link ask} */
  async ledger(): Promise<readonly KernelLedgerEntry[]> {
    return this.#ledger.total(await this.ask('ledger', null));
  }

  /** @throws where there is no thread, or it is replaced before it answers */
  ask<Name extends QuestionName>(name: Name, ask: Questions[Name]['ask']): Promise<Questions[Name]['answer']> {
    const thread = this.#thread;
    if (thread === undefined) return Promise.reject(new Error('the kernel thread is being replaced'));
    const id = this.#nextId++;
    const question: Question<Name> = { id, name, ask };
    const answer = new Promise<unknown>((resolve, reject) => thread.pending.set(id, { resolve, reject }));
    thread.worker.postMessage(question);
    return answer as Promise<Questions[Name]['answer']>;
  }

  /** Closes every probe, in good order where the thread answers. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pingTimer);
    clearTimeout(this.#restartTimer);
    const thread = this.#thread;
    if (thread === undefined) return;
    await withDeadline(this.ask('close', null), this.#hangMs, 'no answer').catch((error: Error) =>
      this.#options.log('warn', `the kernel thread did not close: ${error.message}`),
    );
    this.#thread = undefined;
    // One that is stuck stays so: then stuckThreads says it.
    await withDeadline(this.#end(thread, new Error('closed')), TERMINATE_MS, 'stuck').catch(() => undefined);
  }

  async #startThread(): Promise<void> {
    const thread = new Thread(this.#options.kernel);
    const ready = new Promise<void>((resolve, reject) => {
      thread.worker.on('message', (message: FromKernel) => this.#receive(thread, message, resolve));
      thread.worker.on('error', (error: Error) => {
        reject(error);
        this.#lost(thread, `failed: ${error.message}`);
      });
      thread.worker.on('exit', () => {
        thread.ended = true;
        this.#stuck.delete(thread.worker);
        reject(new Error('the kernel thread ended'));
        this.#lost(thread, 'ended');
      });
    });
    try {
      await withDeadline(ready, START_DEADLINE_MS, `not ready within ${START_DEADLINE_MS / 1000} s`);
    } catch (error) {
      void this.#end(thread, error as Error);
      throw error;
    }
    this.#thread = thread;
    await this.ask('labelPods', this.#podLabels);
    const pods = this.#options.pods?.() ?? [];
    if (pods.length > 0) await this.ask('namePods', { whole: true, set: pods, deleted: [] });
    if (this.#desired !== undefined) await this.ask('configure', this.#desired);
  }

  #receive(thread: Thread, message: FromKernel, ready: () => void): void {
    switch (message.kind) {
      case 'ready':
        ready();
        break;
      case 'events':
        this.#ledger.received(message.events);
        this.#options.events(message.events);
        break;
      case 'log':
        this.#options.log(message.level, message.message);
        break;
      case 'answer':
        thread.pending.get(message.id)?.resolve(message.answer);
        thread.pending.delete(message.id);
        break;
      case 'failure':
        thread.pending.get(message.id)?.reject(new Error(message.message));
        thread.pending.delete(message.id);
        break;
    }
  }

  #checkPulse(): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    if (thread.pingedMs !== undefined) {
      const silentMs = performance.now() - thread.pingedMs;
      if (silentMs > this.#hangMs) this.#lost(thread, `did not answer for ${Math.round(silentMs)} ms`);
      return;
    }
    thread.pingedMs = performance.now();
    this.ask('ping', null).then(
      () => {
        thread.pingedMs = undefined;
        if (performance.now() - thread.startedMs > STABLE_MS) this.#restartMs = RESTART_FIRST_MS;
      },
      // Given up: its questions were answered with why.
      () => undefined,
    );
  }

  /** The thread in use is of no use any more. */
  #lost(thread: Thread, why: string): void {
    if (thread !== this.#thread || this.#closed) return;
    this.#options.log('error', `the kernel thread ${why}: it is replaced`);
    this.#thread = undefined;
    this.#ledger.replaced();
    void this.#end(thread, new Error(`the kernel thread ${why}`));
    this.#scheduleRestart();
  }

  #end(thread: Thread, reason: Error): Promise<unknown> {
    thread.giveUp(reason);
    thread.worker.removeAllListeners('message');
    if (!thread.ended) this.#stuck.add(thread.worker);
    return thread.worker.terminate();
  }

  #scheduleRestart(): void {
    this.#restartTimer = setTimeout(() => void this.#restart(), this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS);
  }

  async #restart(): Promise<void> {
    if (this.#stuck.size >= STUCK_MAX) {
      this.#options.log('error', `${this.#stuck.size} kernel threads hang: no other is started before one ends`);
      this.#scheduleRestart();
      return;
    }
    try {
      this.#restarts++;
      await this.#startThread();
      this.#options.log('info', 'a new kernel thread runs');
    } catch (error) {
      this.#options.log('error', `the kernel thread could not be started: ${(error as Error).message}`);
      if (this.#thread === undefined && !this.#closed) this.#scheduleRestart();
    }
  }
}
