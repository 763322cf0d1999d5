import type { Source } from './record.ts';

/** Stores a value for each record kind and probe. */
export class Counts<T> {
  readonly #make: () => T;
  readonly #byKind = new Map<string, Map<string, T>>();

  constructor(make: () => T) {
    this.#make = make;
  }

  of({ kind, probe }: Source): T {
    let byProbe = this.#byKind.get(kind);
    if (byProbe === undefined) {
      byProbe = new Map();
      this.#byKind.set(kind, byProbe);
    }
    let count = byProbe.get(probe);
    if (count === undefined) {
      count = this.#make();
      byProbe.set(probe, count);
    }
    return count;
  }

  clear(): void {
    this.#byKind.clear();
  }

  *[Symbol.iterator](): Generator<[Source, T]> {
    for (const [kind, byProbe] of this.#byKind) for (const [probe, count] of byProbe) yield [{ kind, probe }, count];
  }
}
