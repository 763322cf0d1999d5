import type { EventRecord } from '#api/events.ts';

/** Pods that have a bucket of their own at the same time; more share one. */
const BUCKETS_MAX = 4_096;
/** A Pod may send what it saved in so many seconds at once. */
const BURST_SECONDS = 2;
const SHARED = '*';

interface Bucket {
  tokens: number;
  atMs: number;
}

/** A token bucket for each Pod, so that a noisy one does not take the sinks from the others. */
export class PodLimiter {
  #perSecond: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  set perSecond(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Whether the Pod of this event may send another one. */
  admit({ namespace, pod, netns }: EventRecord): boolean {
    const bucket = this.#bucketOf(pod === null ? `netns ${netns}` : `${namespace}/${pod}`);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  #bucketOf(owner: string): Bucket {
    const now = this.#now();
    const most = this.#perSecond * BURST_SECONDS;
    const known = this.#buckets.get(owner);
    if (known !== undefined) {
      known.tokens = Math.min(most, known.tokens + ((now - known.atMs) / 1_000) * this.#perSecond);
      known.atMs = now;
      return known;
    }
    if (this.#buckets.size >= BUCKETS_MAX) {
      this.#forgetFull(now);
      if (this.#buckets.size >= BUCKETS_MAX && owner !== SHARED) return this.#bucketOf(SHARED);
    }
    const bucket = { tokens: most, atMs: now };
    this.#buckets.set(owner, bucket);
    return bucket;
  }

  /** A bucket that has had the time to fill up is as good as none. */
  #forgetFull(now: number): void {
    for (const [owner, { atMs }] of this.#buckets) {
      if (now - atMs > BURST_SECONDS * 1_000) this.#buckets.delete(owner);
    }
  }
}
