import type { Labels } from '#core/selector.ts';
import type { Clocks } from './clocks.ts';
import type { TimedSection } from './document.ts';
import type { ConfigReader } from './load.ts';
import type { Config } from './schema.ts';

/** A timer does not notice that the wall clock is set, as `until` needs: the clock is read again after this time at the latest. */
const LOOK_EVERY_MS = 10_000;

export interface ActiveConfigOptions {
  readonly reader: ConfigReader;
  readonly clocks: Clocks;
  /** The time of these sections is over: `config` is another one. */
  readonly ended: (sections: readonly TimedSection[]) => void;
}

/** The document that is in force, and what it says at the moment for this node. */
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
   * Takes another document in place of the one in force.
   * @param labels of this node
   * @throws {ConfigError} for a faulty one: then nothing has changed
   */
  async take(text: string, labels: Labels): Promise<void> {
    const { reader, clocks } = this.#options;
    const config = reader.parse(text, labels);
    await clocks.take(config.timed);
    this.#text = text;
    this.#labels = labels;
    this.#resolve(config.timed, config);
  }

  /**
   * Other labels of this node may choose other overrides of the document in force.
   * @throws {ConfigError} where one of these ends before it begins: then nothing has changed
   */
  relabel(labels: Labels): Promise<void> {
    return this.take(this.#text, labels);
  }

  /** RFC 3339: when a section of the probe that is in force ends, the first of them; null where none does. */
  until(probe: string): string | null {
    const { clocks } = this.#options;
    const ends = this.#config.timed
      .filter((section) => section.probe === probe && !this.#over.has(section.id))
      .map((section) => clocks.endOf(section) ?? Number.POSITIVE_INFINITY);
    const first = Math.min(...ends);
    return Number.isFinite(first) ? new Date(first).toISOString() : null;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /** @param whole what the document says where nothing in it is over, if that is known: to parse it again takes time */
  #resolve(timed: readonly TimedSection[], whole?: Config): void {
    const { reader, clocks } = this.#options;
    this.#over = new Set(timed.filter((section) => clocks.isOver(section)).map(({ id }) => id));
    const isWhole = this.#over.size === 0;
    this.#config = (isWhole ? whole : undefined) ?? reader.parse(this.#text, this.#labels, this.#over);
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const left = this.#config.timed
      .filter(({ id }) => !this.#over.has(id))
      .map((section) => this.#options.clocks.leftOf(section));
    if (left.length === 0) return;
    this.#timer = setTimeout(() => this.#look(), Math.max(1, Math.min(...left, LOOK_EVERY_MS)));
    this.#timer.unref();
  }

  #look(): void {
    const { clocks, ended } = this.#options;
    const { timed } = this.#config;
    const now = timed.filter((section) => clocks.isOver(section) && !this.#over.has(section.id));
    if (now.length === 0) {
      this.#wait();
      return;
    }
    this.#resolve(timed);
    ended(now);
  }
}
