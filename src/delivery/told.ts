/** Time in milliseconds without any failure after which repeated failures are logged again. */
const FORGET_MS = 60_000;
const KINDS_MAX = 100;

/**
 * Remembers which failures of a sink were logged, so that each kind is logged once even if the sink repeatedly fails
 * and recovers.
 */
export class Told {
  readonly #now: () => number;
  readonly #kinds = new Set<string>();
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param now returns milliseconds of a monotonic clock */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Returns true if a failure of this kind has not been logged yet, and records it as logged.
   * @param goesOn whether the sink has been failing since the previous failure
   */
  isNew(message: string, goesOn = false): boolean {
    const nowMs = this.#now();
    if (!goesOn && nowMs - this.#lastMs > FORGET_MS) this.clear();
    this.#lastMs = nowMs;
    const kind = kindOf(message);
    if (this.#kinds.has(kind) || this.#kinds.size >= KINDS_MAX) return false;
    this.#kinds.add(kind);
    return true;
  }

  clear(): void {
    this.#kinds.clear();
  }
}

/**
 * Reduces a message to its constant part. Removes text in quotes or braces, and numbers together with any attached
 * characters, but keeps HTTP statuses.
 */
function kindOf(message: string): string {
  return message
    .replace(/\{[^}]*\}?|'[^']*'|"[^"]*"/g, '…')
    .replace(/(?<![\w.:+-])(?<!returned )[\w.:+-]*\d[\w.:+-]*/g, '#');
}
