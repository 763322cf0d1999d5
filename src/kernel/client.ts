import type { Worker } from 'node:worker_threads';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { Format } from '#collectors/exposition.ts';
import { withDeadline } from '#core/deadline.ts';
import { Turns } from '#core/turns.ts';
import type { PodName, PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import { KernelLedger } from './kernel_ledger.ts';
import type { KernelOptions, Page, PageOptions, QuestionName, Questions } from './messages.ts';
import { startWorker, ThreadHandle } from './thread_handle.ts';
import { ThreadKeeper } from './thread_keeper.ts';

export interface KernelClientOptions {
  readonly kernel: KernelOptions;
  readonly events: (events: readonly EventRecord[]) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Pods of this node from the Kubernetes API, for a thread that starts. */
  readonly pods?: () => readonly PodName[];
  /** Milliseconds without an answer after which a thread is abandoned and replaced. */
  readonly hangMs?: number;
  /** Starts a kernel thread; for tests. */
  readonly worker?: () => Worker;
}

const HANG_MS = 5_000;
/** Number of pages that the thread is asked for at a time. Concurrent scrapers share a collection. */
export const PAGES_MAX = 4;

/** Thrown where no kernel thread answers. */
export class NoThreadError extends Error {
  override readonly name = 'NoThreadError';
}

/** Caller that asks for a page. */
export interface PageCaller {
  /** Owner of the caller: callers of one owner wait for each other before others wait for them. */
  readonly owner: string;
  /** Aborted when the page is no longer wanted. */
  readonly signal: AbortSignal;
}

/** A page and its age, which is more than zero where the kernel thread does not answer. */
export interface AgedPage {
  readonly page: Page;
  readonly ageSeconds: number;
}

/**
 * The main thread's side of the messages between the threads. Its latest settings reach every thread that starts later, the last good
 * page is served with its age while no thread answers, and the ledger continues over all threads.
 */
export class KernelClient implements AsyncDisposable {
  readonly #options: KernelClientOptions;
  readonly #hangMs: number;
  readonly #keeper: ThreadKeeper;
  /** Last page by format, and by whether it is for a scraper: a scraper may not see rows that others see. */
  readonly #lastPages = new Map<string, { readonly page: Page; readonly atMs: number }>();
  readonly #ledger = new KernelLedger();
  readonly #pages = new Turns(PAGES_MAX);
  #desired: DesiredKernel | undefined;
  #podLabels: PodLabels = {};
  #podNetworks: readonly string[] = [];

  constructor(options: KernelClientOptions) {
    const { kernel, events, log, hangMs = HANG_MS, worker = () => startWorker(kernel) } = options;
    this.#options = options;
    this.#hangMs = hangMs;
    const received = (batch: readonly EventRecord[]) => {
      this.#ledger.received(batch);
      events(batch);
    };
    this.#keeper = new ThreadKeeper({
      open: (lost) => new ThreadHandle(worker(), { events: received, log, lost }),
      started: (thread) => this.#tell(thread),
      lost: () => this.#ledger.replaced(),
      log,
      hangMs,
    });
  }

  /** @throws the error that keeps the first kernel thread from starting; later threads are retried */
  start(): Promise<void> {
    return this.#keeper.start();
  }

  /** Number of times that the thread was replaced. */
  get restarts(): number {
    return this.#keeper.restarts;
  }

  /** Number of threads that were abandoned and have not ended. */
  get stuckThreads(): number {
    return this.#keeper.stuckThreads;
  }

  /** Applies this configuration; a thread that is started later gets the same one. */
  async configure(desired: DesiredKernel): Promise<void> {
    this.#desired = desired;
    if (this.#keeper.thread !== undefined) await this.ask('configure', desired);
  }

  /** Shows these labels on every Pod. */
  async labelPods(labels: PodLabels): Promise<void> {
    this.#podLabels = labels;
    if (this.#keeper.thread !== undefined) await this.ask('labelPods', labels);
  }

  /** Tells the thread the networks of the Pods on this node; a later thread is told as well. */
  async tellPodNetworks(networks: readonly string[]): Promise<void> {
    this.#podNetworks = networks;
    if (this.#keeper.thread !== undefined) await this.ask('tellPodNetworks', networks);
  }

  /** Sends an update of Pods to the thread; a thread that is started later gets all of them. */
  async namePods(update: PodsUpdate): Promise<void> {
    if (this.#keeper.thread !== undefined) await this.ask('namePods', update);
  }

  /**
   * Returns a fresh page, or the last one where the thread does not deliver one in time.
   * @returns a last page may be compressed, or not, as another caller asked for it
   * @throws where there is neither, and once the caller has gone
   */
  async page(format: Format, deadlineMs: number, caller: PageCaller, options: PageOptions = {}): Promise<AgedPage> {
    const { owner, signal } = caller;
    const kind = options.scraping === undefined ? format : `${format} for scrapers`;
    try {
      // A thread that has been silent for a while would only make the scraper wait.
      if ((this.#keeper.thread?.silentMs ?? 0) > this.#hangMs / 2)
        throw new NoThreadError('the kernel thread does not answer');
      const answer = await withDeadline(
        // A page that comes too late keeps its place until the thread has finished it.
        this.#pages.run(owner, () => this.ask('scrape', { format, ...options }, signal), {
          signal,
          waitMs: deadlineMs,
        }),
        deadlineMs,
        'the page was not ready in time',
      );
      const page = { ...answer, ledger: this.#ledger.total(answer.ledger) };
      this.#lastPages.set(kind, { page, atMs: performance.now() });
      return { page, ageSeconds: 0 };
    } catch (error) {
      signal.throwIfAborted();
      // A page of the other kind is better than none.
      const last = this.#lastPages.get(kind) ?? [...this.#lastPages].find(([other]) => other.startsWith(format))?.[1];
      if (last === undefined) throw error;
      return { page: last.page, ageSeconds: (performance.now() - last.atMs) / 1000 };
    }
  }

  /** Returns the counts of events before they left the kernel thread, over all threads. @throws as {@link ask} */
  async ledger(): Promise<readonly KernelLedgerEntry[]> {
    return this.#ledger.total(await this.ask('ledger', null));
  }

  /**
   * @param signal tells the thread that the answer is no longer wanted
   * @throws where there is no thread, or it is replaced before it answers
   */
  ask<Name extends QuestionName>(
    name: Name,
    ask: Questions[Name]['ask'],
    signal?: AbortSignal,
  ): Promise<Questions[Name]['answer']> {
    const { thread } = this.#keeper;
    if (thread === undefined) return Promise.reject(new NoThreadError('the kernel thread is being replaced'));
    const answer = thread.ask(name, ask, signal);
    this.#keeper.asked();
    return answer;
  }

  /** Closes every probe, cleanly where the thread answers. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#keeper[Symbol.asyncDispose]();
  }

  async #tell(thread: ThreadHandle): Promise<void> {
    await thread.ask('labelPods', this.#podLabels);
    if (this.#podNetworks.length > 0) await thread.ask('tellPodNetworks', this.#podNetworks);
    const pods = this.#options.pods?.() ?? [];
    if (pods.length > 0) await thread.ask('namePods', { whole: true, set: pods, deleted: [] });
    if (this.#desired !== undefined) await thread.ask('configure', this.#desired);
  }
}
