import type { LaneRecord } from '../record.ts';

/** Servers are configured anew, and others that share a limit come and go. */
const FORGET_MS = 600_000;
const GROWTH = 1.25;
/** Less than what was refused. */
const BELOW = 0.9;
/** Above every batch there can be. */
const BYTES_MAX = 64 * 1024 * 1024;

/**
 * How large a request may be, learnt from what the server refuses for its size: half of that, then more with each that is
 * taken, but for ten minutes not as much as was refused. In bytes of the texts.
 */
export class RequestSize {
  readonly #now: () => number;
  #bytesMax = BYTES_MAX;
  #refused = BYTES_MAX;
  #taken = 0;
  #sinceMs: number;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(now: () => number) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** What goes now, one record at least, and what goes later. */
  cut(records: readonly LaneRecord[]): [readonly LaneRecord[], readonly LaneRecord[]] {
    let bytes = 0;
    const end = records.findIndex((record, index) => {
      bytes += record.bytes;
      return index > 0 && bytes > this.#bytesMax;
    });
    return end < 0 ? [records, []] : [records.slice(0, end), records.slice(end)];
  }

  /** Whether a request of that size was taken lately. */
  wasTaken(bytes: number): boolean {
    this.#forget();
    return bytes <= this.#taken;
  }

  taken(bytes: number): void {
    this.#forget();
    this.#taken = Math.max(this.#taken, bytes);
    // Small ones prove nothing.
    if (bytes > this.#bytesMax / 2)
      this.#bytesMax = Math.min(BYTES_MAX, this.#bytesMax * GROWTH, this.#refused * BELOW);
  }

  refused(bytes: number): void {
    this.#forget();
    // What was taken before is refused for how fast it came.
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
