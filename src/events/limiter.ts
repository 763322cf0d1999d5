import type { EventRecord } from '#api/events.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** Limits the events of each Pod, so that a noisy one does not take the sinks from the others. */
export class PodLimiter {
  readonly #buckets: RateBuckets;

  constructor(perSecond: number, now?: () => number) {
    this.#buckets = new RateBuckets(perSecond, now);
  }

  set perSecond(perSecond: number) {
    this.#buckets.perSecond = perSecond;
  }

  /** Whether the Pod of this event may send another one. */
  admit({ namespace, pod, netns }: EventRecord): boolean {
    return this.#buckets.admit(pod === null ? `netns ${netns}` : `${namespace}/${pod}`);
  }
}
