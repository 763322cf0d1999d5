/**
 * Milliseconds that callers wait for a file system operation. The operation continues, because it cannot be cancelled.
 */
const DEADLINE_MS = 5_000;
/**
 * Maximum number of concurrent operations, all of which may hang. It is half of libuv's thread pool, which DNS lookups
 * and zlib also need.
 */
const STEPS_MAX = 16;
/**
 * Maximum number of hanging operations per path. More than one is allowed, because another file system may have been
 * mounted there in the meantime.
 */
const STEPS_OF_PATH_MAX = 3;
/** Delay in milliseconds before a path with a hanging operation is tried again. */
const AGAIN_MS = 30_000;

export interface FileGateOptions {
  readonly deadlineMs?: number;
  readonly stepsMax?: number;
  readonly againMs?: number;
}

export interface StepOptions {
  /** Rejects the operation while an earlier one on the same path hangs, because both would change the same file. */
  readonly alone?: boolean;
}

interface Step extends Required<StepOptions> {
  readonly path: string;
  readonly sinceMs: number;
  isLate: boolean;
  begin(): void;
  fail(error: Error): void;
}

/**
 * Runs all file system operations on paths that users configure. A hung file system (network storage, a stopped FUSE
 * server) blocks a thread of libuv's pool forever. The gate limits how many threads can be blocked, and no caller waits
 * longer than the deadline. Operations on one path run one at a time.
 */
export class FileGate {
  readonly #deadlineMs: number;
  readonly #stepsMax: number;
  readonly #againMs: number;
  readonly #running = new Set<Step>();
  readonly #waiting = new Set<Step>();

  constructor({ deadlineMs = DEADLINE_MS, stepsMax = STEPS_MAX, againMs = AGAIN_MS }: FileGateOptions = {}) {
    this.#deadlineMs = deadlineMs;
    this.#stepsMax = stepsMax;
    this.#againMs = againMs;
  }

  /** Number of operations that have exceeded the deadline and still run. */
  get hanging(): number {
    return [...this.#running].filter(({ isLate }) => isLate).length;
  }

  /**
   * Runs an operation on a path.
   * @param work its signal is aborted once the caller stops waiting; `work` then has to undo its changes and close its
   * files
   * @throws {FileSystemHangs} if the operation exceeds the deadline, and any error of `work`
   */
  run<T>(path: string, work: (signal: AbortSignal) => Promise<T>, { alone = false }: StepOptions = {}): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const abort = new AbortController();
    const step: Step = {
      path,
      alone,
      sinceMs: performance.now(),
      isLate: false,
      begin: () => {
        work(abort.signal)
          .then(resolve, reject)
          .finally(() => {
            clearTimeout(timer);
            this.#running.delete(step);
            this.#beginWaiting();
          });
      },
      fail: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    };
    const timer = setTimeout(() => {
      step.isLate = true;
      const error = this.#waiting.delete(step) ? this.#busy(step) : new FileSystemHangs(path);
      abort.abort(error);
      reject(error);
      this.#beginWaiting();
    }, this.#deadlineMs);
    // A pending deadline must not keep the process alive.
    timer.unref();
    this.#waiting.add(step);
    this.#beginWaiting();
    return promise;
  }

  #beginWaiting(): void {
    for (const step of this.#waiting) {
      const earlier = [...this.#running].filter(({ path }) => path === step.path);
      const hanging = earlier.filter(({ isLate }) => isLate);
      if (hanging.length > 0 && !this.#mayTryAgain(step, hanging)) {
        this.#waiting.delete(step);
        step.fail(new FileSystemHangs(step.path));
      } else if (earlier.length === hanging.length && this.#running.size < this.#stepsMax) {
        this.#waiting.delete(step);
        this.#running.add(step);
        step.begin();
      }
    }
  }

  #mayTryAgain({ alone }: Step, hanging: readonly Step[]): boolean {
    if (alone || hanging.length >= STEPS_OF_PATH_MAX) return false;
    return performance.now() - Math.max(...hanging.map(({ sinceMs }) => sinceMs)) >= this.#againMs;
  }

  #busy({ path }: Step): Error {
    const { hanging } = this;
    return hanging < this.#stepsMax
      ? new FileSystemHangs(path)
      : new Error(`${path} was not opened, because ${hanging} operations on other files hang`);
  }
}

/** Thrown if a file system does not respond. */
export class FileSystemHangs extends Error {
  override readonly name = 'FileSystemHangs';

  constructor(path: string) {
    super(`${path} does not respond: check the file system that it is on`);
  }
}
