/** A failure is logged again after the sink has worked for this long. */
const FORGET_MS = 60_000;
const KINDS_MAX = 100;

/** Remembers which failures of a sink the log has: each kind once, even where a sink fails and works in turns. */
export class Told {
  readonly #now: () => number;
  readonly #kinds = new Set<string>();
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a monotonic clock */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Says whether a failure is new to the log; it counts as logged from then on.
   * @param goesOn the sink has not worked since the previous failure
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
 * Reduces a message to the part that stays the same from one time to the next: without numbers other than statuses, what is attached to them, and
 * text in quotes or braces.
 */
function kindOf(message: string): string {
  return message
    .replace(/\{[^}]*\}?|'[^']*'|"[^"]*"/g, '…')
    .replace(/(?<![\w.:+-])(?<!answers )[\w.:+-]*\d[\w.:+-]*/g, '#');
}
