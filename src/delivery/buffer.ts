import type { DropReason } from '#api/words.ts';
import type { LaneRecord } from './record.ts';

/** Limits of one write: the number of records, and the bytes of their texts together. One record is always allowed. */
export interface BatchLimits {
  readonly records: number;
  readonly bytes: number;
}

export type Dropped = (records: readonly LaneRecord[], reason: DropReason) => void;

/** Keeps the records that a sink has not taken yet, in order and within a limit. */
export interface RecordBuffer {
  readonly length: number;
  /** Bytes of the texts of the records. */
  readonly bytes: number;
  /** Reason why the buffer cannot keep records as it should; empty where it can. */
  readonly failure: string;
  push(records: readonly LaneRecord[]): void;
  /** Returns the oldest records. They stay until they are settled; one batch at a time. */
  take(limits: BatchLimits): Promise<readonly LaneRecord[]>;
  /** Ends the batch that was taken: the given records of it stay in the buffer, in front of all others. */
  settle(left: readonly LaneRecord[]): void;
  /** Takes out the records that are in memory. */
  drain(): Promise<readonly LaneRecord[]> | readonly LaneRecord[];
  /**
   * Drops the records that would not outlive the agent. @param deadlineMs milliseconds to wait for a disk that hangs
   */
  close(deadlineMs?: number): Promise<void>;
}

/** Taken records are cut off the front of the array only once there are many of them. */
const COMPACT_AT = 1_024;

/** Keeps records in memory. When it is full the oldest are dropped: people look for the newest. */
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
   * A record that is being written is not dropped, since it may have arrived. It counts towards the limit all the same.
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

/** Takes records off the front of an array: at least one, unless the array is empty. */
export function cutFront(records: LaneRecord[], { records: recordsMax, bytes: bytesMax }: BatchLimits): LaneRecord[] {
  let end = 0;
  for (let bytes = 0; end < records.length && end < recordsMax; end++) {
    bytes += records[end]?.bytes ?? 0;
    if (bytes > bytesMax && end > 0) break;
  }
  return records.splice(0, end);
}
