import type { EventRecord } from './envelope.ts';
import { type EventFilter, matches } from './filter.ts';
import { Ledger } from './ledger.ts';
import type { SinkQueue } from './sink_queue.ts';

/** Events that are kept for who asks later. */
const HISTORY_MAX = 1_000;

export type EventListener = (events: readonly EventRecord[]) => void;

/** Gives each event to every sink and to whoever follows, and keeps the last ones. */
export class EventBus {
  readonly ledger = new Ledger();
  readonly #listeners = new Set<EventListener>();
  #history: EventRecord[] = [];
  #sinks: readonly SinkQueue[] = [];

  publish(events: readonly EventRecord[]): void {
    for (const sink of this.#sinks) sink.offer(events);
    this.#history.push(...events);
    // Cut seldom, not for each batch.
    if (this.#history.length > 2 * HISTORY_MAX) this.#history = this.#history.slice(-HISTORY_MAX);
    for (const listener of this.#listeners) listener(events);
  }

  history(filter: EventFilter): EventRecord[] {
    return this.#history.slice(-HISTORY_MAX).filter((event) => matches(event, filter));
  }

  /** Until disposed. */
  follow(listener: EventListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  get followers(): number {
    return this.#listeners.size;
  }

  /** Sends to these sinks from now on; returns those that get nothing any more, for the caller to close. */
  setSinks(sinks: readonly SinkQueue[]): readonly SinkQueue[] {
    const removed = this.#sinks.filter((sink) => !sinks.includes(sink));
    this.#sinks = sinks;
    return removed;
  }
}
