import type { Cycle } from '#core/cycle.ts';
import { type ReaderHealth, Unsupported } from '#core/reader.ts';

/** Milliseconds until a walk that failed is retried, since it may have met a shortage of memory. */
const RETRY_MS = 60_000;

/** Reads all namespaces at once, inside the kernel. */
export interface KernelWalk<Snapshot> extends Disposable {
  read(cycle: Cycle): Promise<Snapshot>;
  /** Warnings about data that the last reading left out, with the reason; undefined where nothing ever is. */
  readonly left?: readonly string[];
}

export interface WalkSourceOptions<Snapshot> {
  /** Name of the data, for the log: `socket counts`. */
  readonly what: string;
  /** Called with the reason why the walk does not run: once for each reason. */
  readonly warn: (message: string) => void;
  /** Opens the walk. @throws where the kernel cannot run it; the message is the reason that is shown */
  readonly open: () => Promise<KernelWalk<Snapshot>>;
  /** Reads the same without the walk: slower, and available everywhere. */
  readonly otherwise: (cycle: Cycle) => Promise<Snapshot>;
  /**
   * Whether an error of the walk says nothing about its next reading: then only this reading fails, and the walk stays open. By default,
   * the walk is closed after its first error.
   */
  readonly isTransient?: (error: unknown) => boolean;
  /** Name of the fallback: `files`. */
  readonly otherwiseName: string;
}

/**
 * One snapshot of all namespaces a cycle for all callers: by a walk in the kernel where that can run, else by the fallback. The kernel
 * program is loaded only while somebody uses the source.
 */
export class WalkSource<Snapshot> {
  readonly #options: WalkSourceOptions<Snapshot>;
  #users = 0;
  #walk: KernelWalk<Snapshot> | undefined;
  /** Reason why the walk does not run. */
  #reason: string | undefined;
  /** Whether this kernel lacks what the walk needs, so that the fallback is the best way here. */
  #isUnsupported = false;
  #warned: string | undefined;
  #opened = false;
  /** Time of the next retry of the walk; never where it runs, or where the kernel lacks it. */
  #retryAtMs = Number.POSITIVE_INFINITY;
  #adjusting: Promise<void> = Promise.resolve();
  #last: { cycle: Cycle; snapshot: Promise<Snapshot> } | undefined;

  constructor(options: WalkSourceOptions<Snapshot>) {
    this.#options = options;
  }

  /** To be disposed when the caller stops reading. */
  async use(): Promise<AsyncDisposable> {
    this.#users++;
    await this.#adjust();
    return {
      [Symbol.asyncDispose]: () => {
        this.#users--;
        return this.#adjust();
      },
    };
  }

  get health(): ReaderHealth {
    const { otherwiseName } = this.#options;
    const isBroken = this.#reason !== undefined && !this.#isUnsupported;
    return {
      reader: this.#walk === undefined ? otherwiseName : 'pass',
      note: this.#reason,
      degraded: [
        ...(isBroken ? [`the walk in the kernel failed, the reader is ${otherwiseName}: ${this.#reason}`] : []),
        ...(this.#walk?.left ?? []),
      ],
    };
  }

  /** Returns the snapshot of this cycle, which is valid until the next one. */
  read(cycle: Cycle): Promise<Snapshot> {
    if (this.#last?.cycle !== cycle) this.#last = { cycle, snapshot: this.#read(cycle) };
    return this.#last.snapshot;
  }

  async #read(cycle: Cycle): Promise<Snapshot> {
    if (performance.now() >= this.#retryAtMs) await this.#reopen();
    const walk = this.#walk;
    if (walk !== undefined) {
      try {
        return await walk.read(cycle);
      } catch (error) {
        cycle.signal.throwIfAborted();
        if (this.#options.isTransient?.(error) === true) throw error;
        // Meanwhile another reader may have met the same error, or the walk was closed and opened again.
        if (walk === this.#walk) this.#giveUp(walk, error);
      }
    }
    return this.#options.otherwise(cycle);
  }

  #giveUp(walk: KernelWalk<Snapshot>, error: unknown): void {
    this.#explain(error);
    walk[Symbol.dispose]();
    this.#walk = undefined;
  }

  #reopen(): Promise<void> {
    this.#adjusting = this.#adjusting.then(async () => {
      if (this.#opened && performance.now() >= this.#retryAtMs) await this.#openWalk();
    });
    return this.#adjusting;
  }

  /** Opens for the first user, and closes after the last: one step at a time, in the order of the calls. */
  #adjust(): Promise<void> {
    this.#adjusting = this.#adjusting.then(async () => {
      const wanted = this.#users > 0;
      if (wanted === this.#opened) return;
      this.#opened = wanted;
      if (wanted) await this.#openWalk();
      else this.#closeWalk();
    });
    return this.#adjusting;
  }

  async #openWalk(): Promise<void> {
    this.#reason = undefined;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    try {
      this.#walk = await this.#options.open();
    } catch (error) {
      this.#explain(error);
    }
  }

  #explain(error: unknown): void {
    const { what, warn, otherwiseName } = this.#options;
    const reason = messageOf(error);
    this.#reason = reason;
    this.#isUnsupported = error instanceof Unsupported;
    if (!this.#isUnsupported) this.#retryAtMs = performance.now() + RETRY_MS;
    if (reason === this.#warned) return;
    this.#warned = reason;
    warn(`${what}: the walk in the kernel does not run, the reader is ${otherwiseName}: ${reason}`);
  }

  #closeWalk(): void {
    this.#walk?.[Symbol.dispose]();
    this.#walk = undefined;
    this.#last = undefined;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
