/** A look is due so soon while something is new, or where nobody tells of it. */
const SOON_MS = 1_000;
/** The same where nothing is new, and births and deaths are told. */
const QUIET_MS = 5_000;

export interface LookPaceOptions {
  /** Must not reject. */
  readonly look: () => Promise<void>;
  /** Whether the next look is due soon, though nothing is told. */
  readonly isRestless: () => boolean;
}

/** Paces the looks at the machine: often while something happens, seldom else. A timer does not keep the process alive. */
export class LookPace implements Disposable {
  readonly #options: LookPaceOptions;
  #timer: NodeJS.Timeout | undefined;
  #isSoon = false;
  #isLooking = false;
  #isClosed = false;

  constructor(options: LookPaceOptions) {
    this.#options = options;
  }

  /** Begins, after the first look. */
  start(): void {
    this.#schedule(this.#options.isRestless());
  }

  /** Something has happened that a look may show. */
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
    // What happened meanwhile the look may have missed.
    this.#schedule(this.#isSoon || this.#options.isRestless());
  }
}
