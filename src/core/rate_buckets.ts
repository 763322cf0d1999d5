/** Maximum number of owners with their own bucket. All further owners share one bucket. */
const BUCKETS_MAX = 4_096;
/** Number of buckets above which full ones are forgotten for the first time. */
const FORGET_FIRST = 64;
/** Capacity of a bucket, as the number of seconds that it takes to fill. */
const BURST_SECONDS = 2;
const SHARED = '*';

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets, one for each owner, so that a noisy owner does not affect other owners. */
export class RateBuckets {
  #perSecond: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  /** Number of buckets at which full ones are forgotten next. It follows the number of owners that are active. */
  #forgetAt = FORGET_FIRST;

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  set perSecond(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Number of owners with their own bucket. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token from the bucket of the owner. Returns false if the bucket is empty. */
  admit(owner: string): boolean {
    const bucket = this.#bucketOf(owner);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Capacity of a bucket in tokens. It is at least one, even if the rate is far below one per second. */
  get #most(): number {
    return Math.max(1, this.#perSecond * BURST_SECONDS);
  }

  #bucketOf(owner: string): Bucket {
    const now = this.#now();
    const known = this.#buckets.get(owner);
    if (known !== undefined) {
      known.tokens = Math.min(this.#most, known.tokens + ((now - known.atMs) / 1_000) * this.#perSecond);
      known.atMs = now;
      return known;
    }
    if (this.#buckets.size >= this.#forgetAt) {
      this.#forgetFull(now);
      this.#forgetAt = Math.min(BUCKETS_MAX, Math.max(FORGET_FIRST, 2 * this.#buckets.size));
      if (this.#buckets.size >= BUCKETS_MAX && owner !== SHARED) return this.#bucketOf(SHARED);
    }
    const bucket = { tokens: this.#most, atMs: now };
    this.#buckets.set(owner, bucket);
    return bucket;
  }

  /** Deletes the buckets that must be full by now, because a new bucket would be full as well. */
  #forgetFull(now: number): void {
    const fullMs = (this.#most / this.#perSecond) * 1_000;
    for (const [owner, { atMs }] of this.#buckets) if (now - atMs > fullMs) this.#buckets.delete(owner);
  }
}
