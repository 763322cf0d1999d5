import type { LaneRecord } from '../record.ts';

/** A limit expires, because servers are reconfigured, and other clients that share a limit come and go. */
const FORGET_MS = 600_000;
const GROWTH = 1.25;
/** Growth stays below the size that was refused. */
const BELOW = 0.9;
/** Above every possible batch. */
const BYTES_MAX = 64 * 1024 * 1024;

/**
 * Learns how large a request may be from those that the server refuses for their size: half of that, then more with each
 * one that is taken, but for ten minutes less than was refused. Sizes are bytes of the texts.
 */
export class RequestSize {
  readonly #now: () => number;
  #bytesMax = BYTES_MAX;
  #refused = BYTES_MAX;
  #taken = 0;
  #sinceMs: number;

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** Returns the records that go now, at least one, and those that go later. */
  cut(records: readonly LaneRecord[]): [readonly LaneRecord[], readonly LaneRecord[]] {
    let bytes = 0;
    const end = records.findIndex((record, index) => {
      bytes += record.bytes;
      return index > 0 && bytes > this.#bytesMax;
    });
    return end < 0 ? [records, []] : [records.slice(0, end), records.slice(end)];
  }

  /** Says whether a request of that size was taken lately. */
  wasTaken(bytes: number): boolean {
    this.#forget();
    return bytes <= this.#taken;
  }

  taken(bytes: number): void {
    this.#forget();
    this.#taken = Math.max(this.#taken, bytes);
    // Small requests prove nothing.
    if (bytes > this.#bytesMax / 2)
      this.#bytesMax = Math.min(BYTES_MAX, this.#bytesMax * GROWTH, this.#refused * BELOW);
  }

  refused(bytes: number): void {
    this.#forget();
    // A size that was taken before is refused for its rate.
    if (!this.wasTaken(bytes)) this.#refused = Math.min(this.#refused, bytes);
    this.#bytesMax = Math.max(1, bytes / 2);
  }

  #forget(): void {
    const nowMs = this.#now();
    if (nowMs - this.#sinceMs < FORGET_MS) return;
    this.#sinceMs = nowMs;
    this.#refused = BYTES_MAX;
    this.#taken = 0;
  }
}
