import type { LaneRecord } from '../record.ts';

/**
 * Interval in milliseconds at which accepted and refused sizes are forgotten, because servers can be reconfigured and
 * may share a limit among clients.
 */
const FORGET_MS = 600_000;
const GROWTH = 1.25;
/** The limit grows up to this fraction of the smallest refused size. */
const BELOW = 0.9;
/** Initial limit, which is larger than any batch. */
const BYTES_MAX = 64 * 1024 * 1024;

/**
 * Learns the maximum request size from the server's responses. A refusal sets the limit to half of the refused size,
 * and each accepted request of a similar size increases it. The limit does not grow to a refused size again until the
 * refused size is forgotten. Sizes are the bytes of the records.
 */
export class RequestSize {
  readonly #now: () => number;
  #bytesMax = BYTES_MAX;
  #refused = BYTES_MAX;
  #taken = 0;
  #sinceMs: number;

  /** @param now returns milliseconds of a monotonic clock */
  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** Splits records into those to send now, at least one, and those to send later. */
  cut(records: readonly LaneRecord[]): [readonly LaneRecord[], readonly LaneRecord[]] {
    let bytes = 0;
    const end = records.findIndex((record, index) => {
      bytes += record.bytes;
      return index > 0 && bytes > this.#bytesMax;
    });
    return end < 0 ? [records, []] : [records.slice(0, end), records.slice(end)];
  }

  /** Whether a request of this size was accepted recently. */
  wasTaken(bytes: number): boolean {
    this.#forget();
    return bytes <= this.#taken;
  }

  taken(bytes: number): void {
    this.#forget();
    this.#taken = Math.max(this.#taken, bytes);
    // A small request says nothing about the limit.
    if (bytes > this.#bytesMax / 2)
      this.#bytesMax = Math.min(BYTES_MAX, this.#bytesMax * GROWTH, this.#refused * BELOW);
  }

  refused(bytes: number): void {
    this.#forget();
    // If a request of this size was accepted before, this one was refused because of the rate.
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
