import type { EventRecord } from '#api/events.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { EVENT_KIND } from './event_kind.ts';
import { type EventFilter, matches } from './filter.ts';

/** An event with its JSON text and its sequence number since the start of the agent. */
export interface PublishedEvent {
  readonly number: number;
  readonly event: EventRecord;
  readonly json: string;
}

export type EventListener = (events: readonly PublishedEvent[]) => void;

/** Sends each event to all followers, and keeps the latest events of every Pod for queries. */
export class EventBus {
  /** Identifies this run of the agent, because the numbers start again in each run. */
  readonly run = Date.now().toString(36);
  readonly #listeners = new Set<EventListener>();
  #history: PublishedEvent[] = [];
  #published = 0;
  #historyMax = 0;

  /** Returns the events as records for the sinks. */
  publish(events: readonly EventRecord[]): LaneRecord[] {
    const records = events.map(EVENT_KIND.toRecord);
    const published = records.map(({ json }, index) => ({
      number: ++this.#published,
      event: events[index] as EventRecord,
      json,
    }));
    for (const one of published) this.#history.push(one);
    // Trimming each batch would be expensive.
    if (this.#history.length > 2 * this.#historyMax) this.#cut();
    for (const listener of this.#listeners) listener(published);
    return records;
  }

  set historyMax(historyMax: number) {
    this.#historyMax = historyMax;
    this.#cut();
  }

  /** @param after number of the last event that the caller already has */
  history(filter: EventFilter, after = 0): PublishedEvent[] {
    this.#cut();
    return this.#history.filter(({ event, number }) => number > after && matches(event, filter));
  }

  /** Calls the listener for new events until disposed. */
  follow(listener: EventListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  get followers(): number {
    return this.#listeners.size;
  }

  #cut(): void {
    if (this.#history.length > this.#historyMax) this.#history = lastOfEach(this.#history, this.#historyMax);
  }
}

/**
 * Returns the events to keep, in order. All Pods get an equal share of the history, and share what a quiet Pod leaves, so
 * a noisy Pod cannot displace the events of others.
 */
function lastOfEach(events: readonly PublishedEvent[], max: number): PublishedEvent[] {
  const counts = new Map<string, number>();
  for (const { event } of events) counts.set(ownerOf(event), (counts.get(ownerOf(event)) ?? 0) + 1);
  let { share, spare } = fairShare([...counts.values()], max);
  const kept: PublishedEvent[] = [];
  const seen = new Map<string, number>();
  for (const one of events.toReversed()) {
    const owner = ownerOf(one.event);
    const later = seen.get(owner) ?? 0;
    seen.set(owner, later + 1);
    if (later < share) kept.push(one);
    else if (later === share && spare > 0) {
      spare--;
      kept.push(one);
    }
  }
  return kept.reverse();
}

/** Returns the share of each Pod, and how many Pods get one event more. */
function fairShare(counts: readonly number[], max: number): { readonly share: number; readonly spare: number } {
  let left = max;
  for (const [index, count] of counts.toSorted((a, b) => a - b).entries()) {
    const sharers = counts.length - index;
    const share = Math.floor(left / sharers);
    if (count > share) return { share, spare: left % sharers };
    left -= count;
  }
  return { share: max, spare: 0 };
}

/** Events without a known Pod share one quota: otherwise short-lived namespaces could displace all others. */
function ownerOf({ namespace, pod }: EventRecord): string {
  return pod === null ? '' : `${namespace}/${pod}`;
}
