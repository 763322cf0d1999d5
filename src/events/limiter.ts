import type { EventRecord } from '#api/events.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** Limits the events of each Pod, so that a noisy Pod does not fill the sinks at the expense of others. */
export class PodLimiter {
  readonly #buckets: RateBuckets;

  constructor(perSecond: number, now?: () => number) {
    this.#buckets = new RateBuckets(perSecond, now);
  }

  set perSecond(perSecond: number) {
    this.#buckets.perSecond = perSecond;
  }

  /** Says whether the Pod of this event may send another one. */
  admit({ namespace, pod, netns }: EventRecord): boolean {
    return this.#buckets.admit(pod === null ? `netns ${netns}` : `${namespace}/${pod}`);
  }
}
