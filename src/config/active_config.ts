import type { Labels } from '#core/selector.ts';
import type { TimedSection } from './document.ts';
import type { ConfigReader } from './load.ts';
import type { Config } from './schema.ts';
import type { SectionExpiry } from './section_expiry.ts';

/**
 * A timer does not notice when the wall clock is set, which `until` depends on: the clock is read again after this time at the
 * latest.
 */
const LOOK_EVERY_MS = 10_000;

export interface ActiveConfigOptions {
  readonly reader: ConfigReader;
  readonly expiry: SectionExpiry;
  /** Called when the time of these sections is over: `config` is a new one. */
  readonly ended: (sections: readonly TimedSection[]) => void;
}

/** The active document, and its present meaning for this node. */
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

  /** @throws {ConfigError} for a faulty document */
  check(text: string): void {
    this.#options.reader.parse(text);
  }

  /**
   * Replaces the active document by another.
   * @param labels of this node
   * @throws {ConfigError} for a faulty document: nothing has changed then
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
   * Takes other labels of this node, which may choose other overrides of the active document.
   * @throws {ConfigError} where one of these ends before it begins: nothing has changed then
   */
  relabel(labels: Labels): Promise<void> {
    return this.take(this.#text, labels);
  }

  /** Time in RFC 3339 when the first active section of the probe ends; null where none ends. */
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

  /** @param whole meaning of the document before any section ended, if it is known, because parsing takes time */
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
