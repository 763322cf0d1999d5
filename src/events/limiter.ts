import type { EventRecord } from '#api/events.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** Limits the rate of events per Pod, so that a noisy Pod does not crowd out the events of other Pods in the sinks. */
export class PodLimiter {
  readonly #buckets: RateBuckets;

  constructor(perSecond: number, now?: () => number) {
    this.#buckets = new RateBuckets(perSecond, now);
  }

  set perSecond(perSecond: number) {
    this.#buckets.perSecond = perSecond;
  }

  /** Whether the Pod of this event is within its limit; counts the event if so. */
  admit({ namespace, pod, netns }: EventRecord): boolean {
    return this.#buckets.admit(pod === null ? `netns ${netns}` : `${namespace}/${pod}`);
  }
}
