import type { NetnsId } from '#core/netns.ts';

/** Limits the events of each subject in one look. */
export class Limiter {
  readonly #max: number;

  constructor(max: number) {
    this.#max = Math.max(1, Math.floor(max));
  }

  admit<T>(all: readonly T[], subjectOf: (one: T) => NetnsId): { found: T[]; limited: number } {
    const counts = new Map<NetnsId, number>();
    const found = all.filter((one) => {
      const count = (counts.get(subjectOf(one)) ?? 0) + 1;
      counts.set(subjectOf(one), count);
      return count <= this.#max;
    });
    return { found, limited: all.length - found.length };
  }
}
