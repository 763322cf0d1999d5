/** Milliseconds that a step on a file system gets. The step itself continues: it cannot be interrupted. */
const DEADLINE_MS = 5_000;
/** Threads of libuv's pool that may hang in file systems: half of them, so that name look-ups and decompression still work. */
const STEPS_MAX = 16;
/** Steps on one path that may hang at the same time: another file system may be mounted there by now. */
const STEPS_OF_PATH_MAX = 3;
/** Milliseconds until such a path is retried. */
const AGAIN_MS = 30_000;

export interface FileGateOptions {
  readonly deadlineMs?: number;
  readonly stepsMax?: number;
  readonly againMs?: number;
}

export interface StepOptions {
  /** Waits while an earlier step on the path hangs, however long that takes: both would change the same file. */
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
 * Every access of the agent to files that users name passes through here. A file system that hangs (network storage, a stopped FUSE
 * server) blocks a thread of libuv's pool for good; this class bounds their number, and no caller waits longer than the deadline. Steps
 * on one path run one after the other.
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

  /** Steps that have not returned in time. */
  get hanging(): number {
    return [...this.#running].filter(({ isLate }) => isLate).length;
  }

  /**
   * Runs a step on a path.
   * @param work gets a signal that is aborted when its caller stops waiting: it then undoes its changes, and closes what it opened
   * @throws {FileSystemHangs} where it did not return in time; errors of `work`
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
    // The process may end in the meantime.
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
      : new Error(`${path} is not opened: ${hanging} other files hang already`);
  }
}

/** A file system does not answer. */
export class FileSystemHangs extends Error {
  override readonly name = 'FileSystemHangs';

  constructor(path: string) {
    super(`${path} does not answer: look at the file system that it is on`);
  }
}
