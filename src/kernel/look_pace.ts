/** Milliseconds until the next look while a namespace is new, or where births and deaths are not reported. */
const SOON_MS = 1_000;
/** Milliseconds until the next look where nothing is new, and births and deaths are reported. */
const QUIET_MS = 5_000;

export interface LookPaceOptions {
  /** Looks at the machine. Must not reject. */
  readonly look: () => Promise<void>;
  /** Returns whether the next look is due soon, though no event was reported. */
  readonly isRestless: () => boolean;
}

/** Paces the looks at the machine: often while something happens, otherwise seldom. Its timer does not keep the process alive. */
export class LookPace implements Disposable {
  readonly #options: LookPaceOptions;
  #timer: NodeJS.Timeout | undefined;
  #isSoon = false;
  #isLooking = false;
  #isClosed = false;

  constructor(options: LookPaceOptions) {
    this.#options = options;
  }

  /** Starts pacing, after the first look. */
  start(): void {
    this.#schedule(this.#options.isRestless());
  }

  /** Reports an event whose effect a look may show. */
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
    // The look may have missed events that came meanwhile.
    this.#schedule(this.#isSoon || this.#options.isRestless());
  }
}
