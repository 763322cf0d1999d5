import type { Worker } from 'node:worker_threads';
import type { EventRecord } from '#api/events.ts';
import type { KernelLedgerEntry } from '#api/ledger.ts';
import type { RecordBatch } from '#api/records.ts';
import type { Format } from '#collectors/exposition.ts';
import { withDeadline } from '#core/deadline.ts';
import { Turns } from '#core/turns.ts';
import type { PodName, PodsUpdate } from '#pods/facts.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { KernelLedger } from './kernel_ledger.ts';
import type { KernelOptions, Page, PageOptions, QuestionName, Questions } from './messages.ts';
import type { PeersAsk } from './peer_table.ts';
import { PeerTeller, type PeerTellerOptions } from './peer_teller.ts';
import { startWorker, ThreadHandle } from './thread_handle.ts';
import { ThreadKeeper } from './thread_keeper.ts';

export interface KernelClientOptions {
  readonly kernel: KernelOptions;
  readonly events: (events: readonly EventRecord[]) => void;
  /** Receives records other than events. */
  readonly records: (records: RecordBatch) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Returns the Pods of this node from the Kubernetes API, to send to a thread that has just started. */
  readonly pods?: () => readonly PodName[];
  /** Names the peers of connections. By default, all of them are unknown. */
  readonly peers?: PeerNames;
  /** Milliseconds without a response after which a thread is abandoned and replaced. */
  readonly hangMs?: number;
  /** Starts a kernel thread. Tests replace it. */
  readonly worker?: () => Worker;
}

/** Functions with which the main thread identifies addresses. */
export type PeerNames = Pick<PeerTellerOptions, 'identify' | 'zone' | 'settled'>;

const NO_NAMES: PeerNames = { identify: () => UNKNOWN_PEER, zone: () => undefined };

const HANG_MS = 5_000;
/** Maximum number of pages that are requested concurrently. Concurrent requests share one collection. */
export const PAGES_MAX = 4;

/** Thrown while no kernel thread responds. */
export class NoThreadError extends Error {
  override readonly name = 'NoThreadError';
}

/** Client that requests a page. */
export interface PageCaller {
  /** Address of the client. Owners take turns, so that one owner cannot delay the others by sending many requests. */
  readonly owner: string;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** A page and its age. The age is greater than 0 only while the kernel thread does not respond. */
export interface AgedPage {
  readonly page: Page;
  readonly ageSeconds: number;
}

/**
 * The main thread's side of the communication with the kernel thread. Callers do not notice when a thread is replaced:
 * each new thread receives the current settings, the last page is served while no thread responds, and record counts
 * continue.
 */
export class KernelClient implements AsyncDisposable {
  readonly #options: KernelClientOptions;
  readonly #hangMs: number;
  readonly #keeper: ThreadKeeper;
  /** The last page of each format, kept separately for scrapers, because their pages hold back new series. */
  readonly #lastPages = new Map<string, { readonly page: Page; readonly atMs: number }>();
  readonly #ledger = new KernelLedger();
  readonly #pages = new Turns(PAGES_MAX);
  readonly #peers: PeerTeller;
  #desired: DesiredKernel | undefined;
  #podLabels: PodLabels = {};
  #podNetworks: readonly string[] = [];

  constructor(options: KernelClientOptions) {
    const { kernel, events, records, log, hangMs = HANG_MS, worker = () => startWorker(kernel) } = options;
    this.#options = options;
    this.#hangMs = hangMs;
    this.#peers = new PeerTeller({
      ...(options.peers ?? NO_NAMES),
      // Errors are ignored, because a thread that was lost needs no identities.
      tell: (told) => void this.ask('tellPeers', told).catch(() => undefined),
    });
    const received = {
      peers: (ask: PeersAsk) => this.#peers.asked(ask),
      events: (batch: readonly EventRecord[]) => {
        this.#ledger.received('event', batch);
        events(batch);
      },
      records: (batch: RecordBatch) => {
        this.#ledger.received(batch.kind, batch.values);
        records(batch);
      },
    };
    this.#keeper = new ThreadKeeper({
      open: (lost) => new ThreadHandle(worker(), { ...received, log, lost }),
      started: (thread) => this.#tell(thread),
      lost: () => {
        this.#ledger.replaced();
        this.#peers.reset();
      },
      log,
      hangMs,
    });
  }

  /** @throws if the first kernel thread fails to start; later threads are retried */
  start(): Promise<void> {
    return this.#keeper.start();
  }

  /** Number of times that the kernel thread was replaced. */
  get restarts(): number {
    return this.#keeper.restarts;
  }

  /** Number of abandoned threads that have not ended. */
  get stuckThreads(): number {
    return this.#keeper.stuckThreads;
  }

  /** Applies this configuration now, and to each thread that starts later. */
  async configure(desired: DesiredKernel): Promise<void> {
    this.#desired = desired;
    if (this.#keeper.thread !== undefined) await this.ask('configure', desired);
  }

  /** Sets the labels to show on every Pod. */
  async labelPods(labels: PodLabels): Promise<void> {
    this.#podLabels = labels;
    if (this.#keeper.thread !== undefined) await this.ask('labelPods', labels);
  }

  /** Sets the networks of the Pods on this node, now and in each thread that starts later. */
  async tellPodNetworks(networks: readonly string[]): Promise<void> {
    this.#podNetworks = networks;
    if (this.#keeper.thread !== undefined) await this.ask('tellPodNetworks', networks);
  }

  /**
   * Called when an address may have changed its owner.
   * @param ip undefined if this applies to all addresses
   */
  peersChanged(ip?: string): void {
    this.#peers.changed(ip);
  }

  /** Sends an update of Pods to the thread. A thread that starts later receives all Pods. */
  async namePods(update: PodsUpdate): Promise<void> {
    if (this.#keeper.thread !== undefined) await this.ask('namePods', update);
  }

  /**
   * Returns a fresh page, or the last one if the thread does not deliver a fresh one in time. The last page may be
   * compressed even if this caller did not request compression, and vice versa.
   * @throws if there is no page at all, or if the caller aborts
   */
  async page(format: Format, deadlineMs: number, caller: PageCaller, options: PageOptions = {}): Promise<AgedPage> {
    const { owner, signal } = caller;
    const kind = options.scraping === undefined ? format : `${format} for scrapers`;
    try {
      // A thread that has not responded for some time would probably delay this scrape until its deadline.
      if ((this.#keeper.thread?.silentMs ?? 0) > this.#hangMs / 2)
        throw new NoThreadError('the kernel thread does not respond');
      const answer = await withDeadline(
        // The request occupies its turn even after the deadline, until the thread has finished the page.
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
      // If there is no page for this kind of client, the page for the other kind is served.
      const last = this.#lastPages.get(kind) ?? [...this.#lastPages].find(([other]) => other.startsWith(format))?.[1];
      if (last === undefined) throw error;
      return { page: last.page, ageSeconds: (performance.now() - last.atMs) / 1000 };
    }
  }

  /** Returns the record counts of the kernel thread, summed over all threads so far. @throws like {@link ask} */
  async ledger(): Promise<readonly KernelLedgerEntry[]> {
    return this.#ledger.total(await this.ask('ledger', null));
  }

  /**
   * Sends a request to the kernel thread, and returns the response.
   * @param signal on abort, the thread skips the work if it can
   * @throws if there is no thread, or if it is replaced before it responds
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

  /** Lets a responsive thread close its probes, and terminates it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#peers[Symbol.dispose]();
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
