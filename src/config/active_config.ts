import type { Labels } from '#core/selector.ts';
import type { TimedSection } from './document.ts';
import type { ConfigReader } from './load.ts';
import type { Config } from './schema.ts';
import type { SectionExpiry } from './section_expiry.ts';

/**
 * Maximum interval in milliseconds between checks of the wall clock. Timers use a monotonic clock, so they do not react
 * when the wall clock is stepped.
 */
const LOOK_EVERY_MS = 10_000;

export interface ActiveConfigOptions {
  readonly reader: ConfigReader;
  readonly expiry: SectionExpiry;
  /** Called after these sections have expired. `config` no longer includes them. */
  readonly ended: (sections: readonly TimedSection[]) => void;
}

/** The active document, resolved for this node and the current time. */
export class ActiveConfig implements Disposable {
  readonly #options: ActiveConfigOptions;
  #text = '{}';
  #labels: Labels = {};
  #config: Config;
  #over: ReadonlySet<string> = new Set();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ActiveConfigOptions) {
    this.#options = options;
    this.#config = options.reader.defaults;
  }

  get config(): Config {
    return this.#config;
  }

  /** @throws {ConfigError} if the document is invalid */
  check(text: string): void {
    this.#options.reader.parse(text);
  }

  /**
   * Replaces the active document.
   * @param labels labels of this node
   * @throws {ConfigError} if the document is invalid, in which case the previous document stays active
   */
  async take(text: string, labels: Labels): Promise<void> {
    const { reader, expiry } = this.#options;
    const config = reader.parse(text, labels);
    await expiry.take(config.timed);
    this.#text = text;
    this.#labels = labels;
    this.#resolve(config.timed, config);
  }

  /**
   * Resolves the active document for new labels of this node, which may select other overrides.
   * @throws {ConfigError} if a selected section has already expired, in which case nothing changes
   */
  relabel(labels: Labels): Promise<void> {
    return this.take(this.#text, labels);
  }

  /** Returns the RFC 3339 time at which the next section of the probe expires, or null if no section expires. */
  until(probe: string): string | null {
    const { expiry } = this.#options;
    const ends = this.#config.timed
      .filter((section) => section.probe === probe && !this.#over.has(section.id))
      .map((section) => expiry.endOf(section) ?? Number.POSITIVE_INFINITY);
    const first = Math.min(...ends);
    return Number.isFinite(first) ? new Date(first).toISOString() : null;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /**
   * Resolves the active document for the current time.
   * @param whole the result of parsing the document with all sections, if the caller already has it
   */
  #resolve(timed: readonly TimedSection[], whole?: Config): void {
    const { reader, expiry } = this.#options;
    this.#over = new Set(timed.filter((section) => expiry.isOver(section)).map(({ id }) => id));
    const isWhole = this.#over.size === 0;
    this.#config = (isWhole ? whole : undefined) ?? reader.parse(this.#text, this.#labels, this.#over);
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const left = this.#config.timed
      .filter(({ id }) => !this.#over.has(id))
      .map((section) => this.#options.expiry.leftOf(section));
    if (left.length === 0) return;
    this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.min(...left, LOOK_EVERY_MS)));
    this.#timer.unref();
  }

  #look(): void {
    const { expiry, ended } = this.#options;
    const { timed } = this.#config;
    const now = timed.filter((section) => expiry.isOver(section) && !this.#over.has(section.id));
    if (now.length === 0) {
      this.#wait();
      return;
    }
    this.#resolve(timed);
    ended(now);
  }
}
