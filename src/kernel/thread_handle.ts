import { Worker } from 'node:worker_threads';
import type { EventRecord } from '#api/events.ts';
import type { RecordBatch } from '#api/records.ts';
import { StarvedTime } from '#sources/procfs/thread_time.ts';
import type { FromKernel, KernelOptions, Question, QuestionName, Questions } from './messages.ts';
import type { PeersAsk } from './peer_table.ts';

export interface ThreadCallbacks {
  readonly events: (events: readonly EventRecord[]) => void;
  readonly records: (records: RecordBatch) => void;
  readonly peers: (ask: PeersAsk) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
  /** Called when the thread has ended or has thrown an error. */
  readonly lost: (why: string) => void;
}

interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export function startWorker(options: KernelOptions): Worker {
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './kernel_thread.js';
  return new Worker(new URL(file, import.meta.url), { workerData: options, name: 'kernel' });
}

/** A kernel thread as seen by the main thread, with its pending requests. */
export class ThreadHandle {
  readonly #worker: Worker;
  readonly #callbacks: ThreadCallbacks;
  readonly #pending = new Map<number, Pending>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #startedMs = performance.now();
  #nextId = 1;
  #hasEnded = false;
  /** Undefined until the thread is ready. */
  #starved: StarvedTime | undefined;
  /** When the unanswered ping was sent; undefined if there is none. */
  #pingedMs: number | undefined;

  constructor(worker: Worker, callbacks: ThreadCallbacks) {
    this.#worker = worker;
    this.#callbacks = callbacks;
    worker.on('message', (message: FromKernel) => this.#receive(message));
    worker.on('error', (error: Error) => {
      this.#ready.reject(error);
      callbacks.lost(`failed: ${error.message}`);
    });
    worker.on('exit', () => {
      this.#hasEnded = true;
      this.#ended.resolve();
      this.#ready.reject(new Error('the kernel thread ended'));
      callbacks.lost('ended');
    });
  }

  /** Resolves once the thread accepts requests; rejects if it ends first. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves once the thread has ended. While the thread hangs in the kernel, it cannot end. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Milliseconds since the thread was started. */
  get ageMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** Milliseconds since the unanswered ping was sent; 0 if there is none. */
  get silentMs(): number {
    return this.#pingedMs === undefined ? 0 : performance.now() - this.#pingedMs;
  }

  /** Milliseconds since the previous call for which the thread had no CPU although it could have run; 0 if unknown. */
  takeStarvedMs(): number {
    return this.#starved?.take() ?? 0;
  }

  /** Whether there is an unanswered request. */
  get owesAnswer(): boolean {
    return this.#pending.size > 0;
  }

  /** Sends a ping, unless the previous one is still unanswered. */
  ping(): void {
    if (this.#pingedMs !== undefined) return;
    this.#pingedMs = performance.now();
    this.ask('ping', null).then(
      () => {
        this.#pingedMs = undefined;
      },
      // The ping fails only if the thread is abandoned. The owner of the thread handles that.
      () => undefined,
    );
  }

  /**
   * @param signal on abort, the thread is asked to skip the work; the promise still settles
   * @throws the error of the thread, or the reason why the thread was abandoned
   */
  async ask<Name extends QuestionName>(
    name: Name,
    ask: Questions[Name]['ask'],
    signal?: AbortSignal,
  ): Promise<Questions[Name]['answer']> {
    const id = this.#nextId++;
    const question: Question<Name> = { id, name, ask };
    const answer = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#worker.postMessage(question);
    const forget = () => this.ask('forget', id).catch(() => undefined);
    signal?.addEventListener('abort', forget, { once: true });
    try {
      return (await answer) as Questions[Name]['answer'];
    } finally {
      signal?.removeEventListener('abort', forget);
    }
  }

  /**
   * Rejects all unanswered requests with the reason, and terminates the thread.
   * @returns a promise that never resolves if the thread hangs in the kernel
   */
  end(reason: Error): Promise<unknown> {
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
    this.#worker.removeAllListeners('message');
    return this.#worker.terminate();
  }

  #receive(message: FromKernel): void {
    switch (message.kind) {
      case 'ready':
        this.#starved = message.tid === undefined ? undefined : new StarvedTime(message.tid);
        this.#ready.resolve();
        break;
      case 'events':
        this.#callbacks.events(message.events);
        break;
      case 'records':
        this.#callbacks.records(message.records);
        break;
      case 'peers':
        this.#callbacks.peers(message.peers);
        break;
      case 'log':
        this.#callbacks.log(message.level, message.message);
        break;
      case 'answer':
        this.#pending.get(message.id)?.resolve(message.answer);
        this.#pending.delete(message.id);
        break;
      case 'failure':
        this.#pending.get(message.id)?.reject(new Error(message.message));
        this.#pending.delete(message.id);
        break;
    }
  }
}
