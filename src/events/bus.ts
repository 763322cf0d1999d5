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

/** Gives each event to whoever follows, and keeps the last ones for who asks later. */
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
    this.#history.splice(0, this.#history.length - this.#historyMax);
  }
}
