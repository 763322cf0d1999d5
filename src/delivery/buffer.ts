import type { DropReason } from '#api/words.ts';
import type { EventLine } from '#events/event_line.ts';

/** How many events one write may have, and how many bytes their texts together. One event is always allowed. */
export interface BatchLimits {
  readonly events: number;
  readonly bytes: number;
}

export type Dropped = (events: readonly EventLine[], reason: DropReason) => void;

/** Keeps what a sink has not taken yet, in order and within a limit. */
export interface EventBuffer {
  readonly length: number;
  /** Of the texts of the events. */
  readonly bytes: number;
  /** Why it cannot keep events as it should; empty where it can. */
  readonly failure: string;
  push(events: readonly EventLine[]): void;
  /** The oldest ones. They stay until they are settled; one batch at a time. */
  take(limits: BatchLimits): Promise<readonly EventLine[]>;
  /** Ends the batch that was taken: these of it stay in the buffer, in front of all others. */
  settle(left: readonly EventLine[]): void;
  /** Takes out what is in memory. */
  drain(): Promise<readonly EventLine[]> | readonly EventLine[];
  /** Drops what would not outlive the agent. */
  close(): Promise<void>;
}

/** Where taken events are cut off from the front of the array only when they are many. */
const COMPACT_AT = 1_024;

/** Keeps events in memory. Where it is full the oldest give way: what is newest is what people look for. */
export class MemoryBuffer implements EventBuffer {
  readonly failure = '';
  readonly #limits: BatchLimits;
  readonly #dropped: Dropped;
  #events: EventLine[] = [];
  #head = 0;
  #bytes = 0;
  #taken: readonly EventLine[] = [];

  constructor(limits: BatchLimits, dropped: Dropped) {
    this.#limits = limits;
    this.#dropped = dropped;
  }

  get length(): number {
    return this.#events.length - this.#head + this.#taken.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(events: readonly EventLine[]): void {
    for (const event of events) {
      this.#events.push(event);
      this.#bytes += event.bytes;
    }
    this.#trim();
  }

  async take({ events: eventsMax, bytes: bytesMax }: BatchLimits): Promise<readonly EventLine[]> {
    let end = this.#head;
    for (let bytes = 0; end < this.#events.length && end - this.#head < eventsMax; end++) {
      bytes += this.#events[end]?.bytes ?? 0;
      if (bytes > bytesMax && end > this.#head) break;
    }
    this.#taken = this.#events.slice(this.#head, end);
    this.#head = end;
    this.#compact();
    return this.#taken;
  }

  settle(left: readonly EventLine[]): void {
    this.#bytes += sumBytes(left) - sumBytes(this.#taken);
    this.#taken = [];
    if (left.length > 0) {
      this.#events = [...left, ...this.#events.slice(this.#head)];
      this.#head = 0;
    }
    this.#trim();
  }

  drain(): readonly EventLine[] {
    const events = [...this.#taken, ...this.#events.slice(this.#head)];
    this.#events = [];
    this.#taken = [];
    this.#head = 0;
    this.#bytes = 0;
    return events;
  }

  async close(): Promise<void> {
    this.#dropped(this.drain(), 'shutdown');
  }

  /** What is being written is not dropped: it may have arrived. It counts all the same. */
  #trim(): void {
    const start = this.#head;
    let length = this.length;
    while (this.#head < this.#events.length && (length > this.#limits.events || this.#bytes > this.#limits.bytes)) {
      this.#bytes -= this.#events[this.#head]?.bytes ?? 0;
      this.#head++;
      length--;
    }
    if (this.#head > start) this.#dropped(this.#events.slice(start, this.#head), 'queue_full');
    this.#compact();
  }

  #compact(): void {
    if (this.#head < COMPACT_AT || this.#head * 2 < this.#events.length) return;
    this.#events = this.#events.slice(this.#head);
    this.#head = 0;
  }
}

export function sumBytes(events: readonly EventLine[]): number {
  return events.reduce((sum, { bytes }) => sum + bytes, 0);
}
