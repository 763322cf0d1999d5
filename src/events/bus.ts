import type { EventRecord } from './envelope.ts';
import { type EventLine, toLine } from './event_line.ts';
import { type EventFilter, matches } from './filter.ts';
import { Ledger } from './ledger.ts';
import type { SinkQueue } from './sink_queue.ts';

export type EventListener = (events: readonly EventLine[]) => void;

/** Gives each event to every sink and to whoever follows, and keeps the last ones for who asks later. */
export class EventBus {
  readonly ledger = new Ledger();
  readonly #listeners = new Set<EventListener>();
  #history: EventLine[] = [];
  #historyMax = 0;
  #sinks: readonly SinkQueue[] = [];

  publish(events: readonly EventRecord[]): void {
    const lines = events.map(toLine);
    for (const { probe } of events) this.ledger.published(probe);
    for (const sink of this.#sinks) sink.offer(lines);
    for (const line of lines) this.#history.push(line);
    // Cut seldom, not for each batch.
    if (this.#history.length > 2 * this.#historyMax) this.#cut();
    for (const listener of this.#listeners) listener(lines);
  }

  set historyMax(historyMax: number) {
    this.#historyMax = historyMax;
    this.#cut();
  }

  history(filter: EventFilter): EventLine[] {
    this.#cut();
    return this.#history.filter(({ record }) => matches(record, filter));
  }

  /** Until disposed. */
  follow(listener: EventListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  get followers(): number {
    return this.#listeners.size;
  }

  get sinks(): readonly SinkQueue[] {
    return this.#sinks;
  }

  /** Sends to these sinks from now on; what others got already is theirs. */
  set sinks(sinks: readonly SinkQueue[]) {
    this.#sinks = sinks;
  }

  #cut(): void {
    this.#history.splice(0, this.#history.length - this.#historyMax);
  }
}
