import type { Cycle } from '#core/cycle.ts';
import { type ReaderHealth, Unsupported } from '#core/reader.ts';

/** Delay in milliseconds before a failed walk is opened again. The cause may have been a temporary memory shortage. */
const RETRY_MS = 60_000;

/** Reads data of all namespaces with a walk in the kernel. */
export interface KernelWalk<Snapshot> extends Disposable {
  read(cycle: Cycle): Promise<Snapshot>;
  /** Warnings about data that the last read left out, with reasons; undefined if the walk never leaves out data. */
  readonly left?: readonly string[];
}

export interface WalkSourceOptions<Snapshot> {
  /** Name of the data in log messages, such as `socket counts`. */
  readonly what: string;
  /** Called with the reason why the walk does not run, but not twice in a row with the same reason. */
  readonly warn: (message: string) => void;
  /** Opens the walk. @throws if the kernel cannot run it; the error message is shown as the reason */
  readonly open: () => Promise<KernelWalk<Snapshot>>;
  /** Reads the same data without the walk. This is slower, but works on every kernel. */
  readonly otherwise: (cycle: Cycle) => Promise<Snapshot>;
  /**
   * Returns whether an error affects only the current read. If so, the read fails but the walk stays open. By default,
   * any error closes the walk.
   */
  readonly isTransient?: (error: unknown) => boolean;
  /** Name of the fallback, such as `files`. */
  readonly otherwiseName: string;
}

/**
 * Provides one snapshot of all namespaces per cycle, which all callers share. Uses a walk in the kernel if possible,
 * otherwise the fallback. The BPF program is loaded only while the source has users.
 */
export class WalkSource<Snapshot> {
  readonly #options: WalkSourceOptions<Snapshot>;
  #users = 0;
  #walk: KernelWalk<Snapshot> | undefined;
  /** Reason why the walk does not run; undefined if it runs. */
  #reason: string | undefined;
  /** True if the walk needs a feature that this kernel lacks. Using the fallback then does not count as degraded. */
  #isUnsupported = false;
  #warned: string | undefined;
  #opened = false;
  /** Time of the next retry; infinite if the walk is running or the kernel does not support it. */
  #retryAtMs = Number.POSITIVE_INFINITY;
  #adjusting: Promise<void> = Promise.resolve();
  #last: { cycle: Cycle; snapshot: Promise<Snapshot> } | undefined;

  constructor(options: WalkSourceOptions<Snapshot>) {
    this.#options = options;
  }

  /** Registers a user. The caller must dispose of the result when it stops reading. */
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
        ...(isBroken ? [`the walk in the kernel failed, so the reader is ${otherwiseName}: ${this.#reason}`] : []),
        ...(this.#walk?.left ?? []),
      ],
    };
  }

  /** Returns the snapshot of this cycle, which is valid until the next cycle. */
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
        // Another caller may already have handled the same error, or the walk may have been closed and opened again.
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

  /**
   * Opens the walk for the first user and closes it after the last one. Calls are processed one at a time, in order.
   */
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
    warn(`${what}: the walk in the kernel does not run, so the reader is ${otherwiseName}: ${reason}`);
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
