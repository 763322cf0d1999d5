import type { EventRecord } from '#api/events.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { EVENT_KIND } from './event_kind.ts';
import { type EventFilter, matches } from './filter.ts';

/** An event with its text and its number, counted from the start of the agent. */
export interface PublishedEvent {
  readonly number: number;
  readonly event: EventRecord;
  readonly json: string;
}

export type EventListener = (events: readonly PublishedEvent[]) => void;

/** Gives each event to whoever follows, and keeps the last ones of every Pod for who asks later. */
export class EventBus {
  /** Tells the numbers of this run of the agent from those of others. */
  readonly run = Date.now().toString(36);
  readonly #listeners = new Set<EventListener>();
  #history: PublishedEvent[] = [];
  #published = 0;
  #historyMax = 0;

  /** Returns the records of the events, for the sinks. */
  publish(events: readonly EventRecord[]): LaneRecord[] {
    const records = events.map(EVENT_KIND.toRecord);
    const published = records.map(({ json }, index) => ({
      number: ++this.#published,
      event: events[index] as EventRecord,
      json,
    }));
    for (const one of published) this.#history.push(one);
    // Cut seldom, not for each batch.
    if (this.#history.length > 2 * this.#historyMax) this.#cut();
    for (const listener of this.#listeners) listener(published);
    return records;
  }

  set historyMax(historyMax: number) {
    this.#historyMax = historyMax;
    this.#cut();
  }

  /** @param after number of the last event that is not wanted any more */
  history(filter: EventFilter, after = 0): PublishedEvent[] {
    this.#cut();
    return this.#history.filter(({ event, number }) => number > after && matches(event, filter));
  }

  /** Until disposed. */
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
 * At most so many events, in their order. Every Pod keeps the same number of its last ones, and one that has fewer leaves the rest to the
 * others: whoever has much to tell takes nothing of what happened to another.
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

/** What each may have of so much, and how many may have one more. */
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

/** Events of nobody known are one owner's: namespaces are made faster than they are listed. */
function ownerOf({ namespace, pod }: EventRecord): string {
  return pod === null ? '' : `${namespace}/${pod}`;
}
