/** What has been well for so long is told of anew. */
const FORGET_MS = 60_000;
const KINDS_MAX = 100;

/** Which failures of a sink the log has: each kind once, also where a sink fails and works in turns. */
export class Told {
  readonly #now: () => number;
  readonly #kinds = new Set<string>();
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Whether a failure is to be told; it counts as told then.
   * @param goesOn it is not the first one since the sink worked
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

/** A message without what differs from one time to the next: numbers but for statuses, with what hangs on them, and what is in quotes or braces. */
function kindOf(message: string): string {
  return message
    .replace(/\{[^}]*\}?|'[^']*'|"[^"]*"/g, '…')
    .replace(/(?<![\w.:+-])(?<!answers )[\w.:+-]*\d[\w.:+-]*/g, '#');
}
