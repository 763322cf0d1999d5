import type { EventRecord } from './envelope.ts';
import type { Ledger } from './ledger.ts';

/** Takes finished events away. */
export interface Sink {
  readonly name: string;
  /** Resolves once the events are where they belong. One call at a time. @throws where they are not */
  write(events: readonly EventRecord[]): Promise<void>;
  close(): Promise<void>;
}

/** Events that may wait for one sink. */
const CAPACITY = 10_000;
/** Events of one write. */
const BATCH_MAX = 500;

/**
 * The bounded queue in front of a sink, so that a slow one holds up nobody. When it is full the oldest events give way:
 * what is newest is what people look for. Nothing goes without being counted.
 */
export class SinkQueue {
  readonly #sink: Sink;
  readonly #ledger: Ledger;
  readonly #failed: (error: Error) => void;
  readonly #capacity: number;
  #events: EventRecord[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  /** @param failed told of each write that failed */
  constructor(sink: Sink, ledger: Ledger, failed: (error: Error) => void, capacity = CAPACITY) {
    this.#sink = sink;
    this.#ledger = ledger;
    this.#failed = failed;
    this.#capacity = capacity;
  }

  get name(): string {
    return this.#sink.name;
  }

  offer(events: readonly EventRecord[]): void {
    if (this.#closed) return;
    for (const event of events) {
      this.#ledger.accepted(event.probe, this.name);
      this.#events.push(event);
    }
    const excess = this.#events.length - this.#capacity;
    if (excess > 0) this.#drop(this.#events.splice(0, excess), 'queue_full');
    this.#writing ??= this.#write();
  }

  /** Writes what is left, at most for the given time; the rest counts as dropped. */
  async close(deadlineMs: number): Promise<void> {
    this.#closed = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
    });
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
    this.#drop(this.#events.splice(0), 'shutdown');
    await this.#sink.close();
  }

  async #write(): Promise<void> {
    while (this.#events.length > 0) {
      const batch = this.#events.splice(0, BATCH_MAX);
      try {
        await this.#sink.write(batch);
        for (const { probe } of batch) this.#ledger.delivered(probe, this.name);
      } catch (error) {
        this.#drop(batch, 'write_failed');
        this.#failed(error as Error);
      }
    }
    this.#writing = undefined;
  }

  #drop(events: readonly EventRecord[], reason: 'queue_full' | 'write_failed' | 'shutdown'): void {
    for (const { probe } of events) this.#ledger.dropped(probe, this.name, reason);
  }
}
