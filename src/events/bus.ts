import type { EventRecord } from '#api/events.ts';
import { Ledger } from '#delivery/ledger.ts';
import type { SinkQueue } from '#delivery/sink_queue.ts';
import { type EventLine, toLine } from './event_line.ts';
import { type EventFilter, matches } from './filter.ts';

/** An event with its number, counted from the start of the agent. */
export interface NumberedLine extends EventLine {
  readonly number: number;
}

export type EventListener = (events: readonly NumberedLine[]) => void;

/** Gives each event to every sink and to whoever follows, and keeps the last ones for who asks later. */
export class EventBus {
  readonly ledger = new Ledger();
  /** Tells the numbers of this run of the agent from those of others. */
  readonly run = Date.now().toString(36);
  readonly #listeners = new Set<EventListener>();
  #history: NumberedLine[] = [];
  #published = 0;
  #historyMax = 0;
  #sinks: readonly SinkQueue[] = [];

  publish(events: readonly EventRecord[]): void {
    const lines = events.map((event) => ({ ...toLine(event), number: ++this.#published }));
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

  /** @param after number of the last event that is not wanted any more */
  history(filter: EventFilter, after = 0): NumberedLine[] {
    this.#cut();
    return this.#history.filter(({ record, number }) => number > after && matches(record, filter));
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
