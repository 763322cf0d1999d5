import type { Exposition } from './exposition.ts';

/** Sums up the increases of counters by name, like increase() in Prometheus but without extrapolation. */
export class CountingScraper {
  readonly #last = new Map<string, number>();
  readonly #counted = new Map<string, number>();
  /** Series with a sample that was lower than the previous one. */
  readonly resets: string[] = [];

  scrape({ samples, types }: Exposition): void {
    for (const { name, labels, value } of samples) {
      if (types.get(name) === 'gauge' || name.endsWith('_sum')) continue;
      const key = `${name} ${JSON.stringify(labels)}`;
      const now = Number(value);
      const last = this.#last.get(key);
      this.#last.set(key, now);
      if (last === undefined) continue;
      if (now < last) this.resets.push(key);
      this.#counted.set(name, (this.#counted.get(name) ?? 0) + (now < last ? now : now - last));
    }
  }

  /** Names and labels of all series seen. */
  get seen(): Iterable<string> {
    return this.#last.keys();
  }

  counted(name: string): number {
    return this.#counted.get(name) ?? 0;
  }
}
