/**
 * Milliseconds until the next scan in two cases: a namespace is new, or the kernel does not report when namespaces are
 * created and destroyed.
 */
const SOON_MS = 1_000;
/** Milliseconds until the next scan in all other cases. */
const QUIET_MS = 15_000;

export interface LookPaceOptions {
  /** Scans for namespaces. Must not reject. */
  readonly look: () => Promise<void>;
  /** Returns whether the next scan should follow soon even if no event is reported. */
  readonly isRestless: () => boolean;
}

/**
 * Schedules scans for namespaces: frequent ones while something changes, and infrequent ones otherwise. Its timer does
 * not keep the process alive.
 */
export class LookPace implements Disposable {
  readonly #options: LookPaceOptions;
  #timer: NodeJS.Timeout | undefined;
  #isSoon = false;
  #isLooking = false;
  #isClosed = false;

  constructor(options: LookPaceOptions) {
    this.#options = options;
  }

  /** Schedules the next scan. Must be called after the first scan. */
  start(): void {
    this.#schedule(this.#options.isRestless());
  }

  /** Schedules a scan soon, because an event was reported. */
  stir(): void {
    if (this.#isSoon) return;
    if (this.#isLooking) this.#isSoon = true;
    else if (this.#timer !== undefined) this.#schedule(true);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #schedule(isSoon: boolean): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#isSoon = isSoon;
    this.#timer = setTimeout(() => void this.#look(), isSoon ? SOON_MS : QUIET_MS);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#isSoon = false;
    this.#isLooking = true;
    await this.#options.look();
    this.#isLooking = false;
    // The scan may have missed changes that were reported in the meantime.
    this.#schedule(this.#isSoon || this.#options.isRestless());
  }
}
