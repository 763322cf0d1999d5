import type { Cycle } from '#core/cycle.ts';
import { type ReaderHealth, Unsupported } from '#core/reader.ts';

/** A pass that failed may have met a shortage of memory: it is tried again after so long. */
const RETRY_MS = 60_000;

/** Reads all namespaces at once, inside the kernel. */
export interface Pass<Snapshot> extends Disposable {
  read(cycle: Cycle): Promise<Snapshot>;
  /** What the last reading left out, and why; undefined where nothing ever is. */
  readonly left?: readonly string[];
}

export interface PassSourceOptions<Snapshot> {
  /** What is read, for the log: `socket counts`. */
  readonly what: string;
  /** Told why the pass does not run: once, until there is another reason. */
  readonly warn: (message: string) => void;
  /** @throws where the kernel cannot run it; the message is the reason that is shown */
  readonly open: () => Promise<Pass<Snapshot>>;
  /** Reads the same without the pass: slower, and everywhere. */
  readonly otherwise: (cycle: Cycle) => Promise<Snapshot>;
  /**
   * Whether an error of the pass says nothing of its next reading: then this one fails, and the pass stays. By default
   * the first error is the last.
   */
  readonly mayPass?: (error: unknown) => boolean;
  /** What the other way is called: `files`. */
  readonly otherwiseName: string;
}

/**
 * One snapshot of all namespaces a cycle, whoever asks: by a pass in the kernel where that can run, else in another way.
 * The kernel program is there while somebody uses the source.
 */
export class PassSource<Snapshot> {
  readonly #options: PassSourceOptions<Snapshot>;
  #users = 0;
  #pass: Pass<Snapshot> | undefined;
  /** Why the pass does not run. */
  #reason: string | undefined;
  /** Whether this kernel lacks what the pass needs, so that the other way is the best one here. */
  #isUnsupported = false;
  #warned: string | undefined;
  #opened = false;
  /** When the pass is to be tried again; never where it runs, or where the kernel lacks it. */
  #retryAtMs = Number.POSITIVE_INFINITY;
  #adjusting: Promise<void> = Promise.resolve();
  #last: { cycle: Cycle; snapshot: Promise<Snapshot> } | undefined;

  constructor(options: PassSourceOptions<Snapshot>) {
    this.#options = options;
  }

  /** To be disposed by who does not read any more. */
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
      reader: this.#pass === undefined ? otherwiseName : 'pass',
      note: this.#reason,
      degraded: [
        ...(isBroken ? [`the pass in the kernel failed, the reader is ${otherwiseName}: ${this.#reason}`] : []),
        ...(this.#pass?.left ?? []),
      ],
    };
  }

  /** What this cycle reads. Valid until the next one. */
  read(cycle: Cycle): Promise<Snapshot> {
    if (this.#last?.cycle !== cycle) this.#last = { cycle, snapshot: this.#read(cycle) };
    return this.#last.snapshot;
  }

  async #read(cycle: Cycle): Promise<Snapshot> {
    if (performance.now() >= this.#retryAtMs) await this.#reopen();
    const pass = this.#pass;
    if (pass !== undefined) {
      try {
        return await pass.read(cycle);
      } catch (error) {
        cycle.signal.throwIfAborted();
        if (this.#options.mayPass?.(error) === true) throw error;
        // Meanwhile another reader may have met the same, or the pass was closed and opened anew.
        if (pass === this.#pass) this.#giveUp(pass, error);
      }
    }
    return this.#options.otherwise(cycle);
  }

  #giveUp(pass: Pass<Snapshot>, error: unknown): void {
    this.#explain(error);
    pass[Symbol.dispose]();
    this.#pass = undefined;
  }

  #reopen(): Promise<void> {
    this.#adjusting = this.#adjusting.then(async () => {
      if (this.#opened && performance.now() >= this.#retryAtMs) await this.#openPass();
    });
    return this.#adjusting;
  }

  /** Opens for the first user, closes after the last: one step at a time, in the order of the calls. */
  #adjust(): Promise<void> {
    this.#adjusting = this.#adjusting.then(async () => {
      const wanted = this.#users > 0;
      if (wanted === this.#opened) return;
      this.#opened = wanted;
      if (wanted) await this.#openPass();
      else this.#closePass();
    });
    return this.#adjusting;
  }

  async #openPass(): Promise<void> {
    this.#reason = undefined;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    try {
      this.#pass = await this.#options.open();
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
    warn(`${what}: the pass in the kernel does not run, the reader is ${otherwiseName}: ${reason}`);
  }

  #closePass(): void {
    this.#pass?.[Symbol.dispose]();
    this.#pass = undefined;
    this.#last = undefined;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
