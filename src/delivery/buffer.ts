import type { DropReason } from '#api/words.ts';
import type { LaneRecord } from './record.ts';

/** Limits of one write: the number of records, and their total size in bytes. A single record is always allowed. */
export interface BatchLimits {
  readonly records: number;
  readonly bytes: number;
}

export type Dropped = (records: readonly LaneRecord[], reason: DropReason) => void;

/** Holds the records that a sink has not accepted yet, in order and within limits. */
export interface RecordBuffer {
  readonly length: number;
  /** Total size of the records. */
  readonly bytes: number;
  /** Reason why the buffer cannot store records as configured. Empty if it can. */
  readonly failure: string;
  push(records: readonly LaneRecord[]): void;
  /**
   * Returns the oldest records as a batch. They stay in the buffer until `settle`, which must precede the next `take`.
   */
  take(limits: BatchLimits): Promise<readonly LaneRecord[]>;
  /** Ends the batch. Its records in `left` stay in the buffer, ahead of all other records. */
  settle(left: readonly LaneRecord[]): void;
  /** Removes and returns the records that are in memory. */
  drain(): Promise<readonly LaneRecord[]> | readonly LaneRecord[];
  /**
   * Drops the records that would be lost when the agent exits.
   * @param deadlineMs milliseconds to wait for an unresponsive disk
   */
  close(deadlineMs?: number): Promise<void>;
}

/** Number of removed records at the front of the array after which it is compacted. */
const COMPACT_AT = 1_024;

/** Holds records in memory. A full buffer drops the oldest records, because the newest are the most useful. */
export class MemoryBuffer implements RecordBuffer {
  readonly failure = '';
  readonly #limits: BatchLimits;
  readonly #dropped: Dropped;
  #records: LaneRecord[] = [];
  #head = 0;
  #bytes = 0;
  #taken: readonly LaneRecord[] = [];

  constructor(limits: BatchLimits, dropped: Dropped) {
    this.#limits = limits;
    this.#dropped = dropped;
  }

  get length(): number {
    return this.#records.length - this.#head + this.#taken.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(records: readonly LaneRecord[]): void {
    for (const record of records) {
      this.#records.push(record);
      this.#bytes += record.bytes;
    }
    this.#trim();
  }

  async take({ records: recordsMax, bytes: bytesMax }: BatchLimits): Promise<readonly LaneRecord[]> {
    let end = this.#head;
    for (let bytes = 0; end < this.#records.length && end - this.#head < recordsMax; end++) {
      bytes += this.#records[end]?.bytes ?? 0;
      if (bytes > bytesMax && end > this.#head) break;
    }
    this.#taken = this.#records.slice(this.#head, end);
    this.#head = end;
    this.#compact();
    return this.#taken;
  }

  settle(left: readonly LaneRecord[]): void {
    this.#bytes += sumBytes(left) - sumBytes(this.#taken);
    this.#taken = [];
    if (left.length > 0) {
      this.#records = [...left, ...this.#records.slice(this.#head)];
      this.#head = 0;
    }
    this.#trim();
  }

  drain(): readonly LaneRecord[] {
    const records = [...this.#taken, ...this.#records.slice(this.#head)];
    this.#records = [];
    this.#taken = [];
    this.#head = 0;
    this.#bytes = 0;
    return records;
  }

  async close(): Promise<void> {
    this.#dropped(this.drain(), 'shutdown');
  }

  /**
   * Drops the oldest records that exceed the limits, but none of the current batch, which may already have been
   * written.
   */
  #trim(): void {
    const start = this.#head;
    let length = this.length;
    while (this.#head < this.#records.length && (length > this.#limits.records || this.#bytes > this.#limits.bytes)) {
      this.#bytes -= this.#records[this.#head]?.bytes ?? 0;
      this.#head++;
      length--;
    }
    if (this.#head > start) this.#dropped(this.#records.slice(start, this.#head), 'queue_full');
    this.#compact();
  }

  #compact(): void {
    if (this.#head < COMPACT_AT || this.#head * 2 < this.#records.length) return;
    this.#records = this.#records.slice(this.#head);
    this.#head = 0;
  }
}

export function sumBytes(records: readonly LaneRecord[]): number {
  return records.reduce((sum, { bytes }) => sum + bytes, 0);
}
