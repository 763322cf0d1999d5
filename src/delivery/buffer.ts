import type { DropReason } from '#api/words.ts';
import type { LaneRecord } from './record.ts';

/** How many records one write may have, and how many bytes their texts together. One record is always allowed. */
export interface BatchLimits {
  readonly records: number;
  readonly bytes: number;
}

export type Dropped = (records: readonly LaneRecord[], reason: DropReason) => void;

/** Keeps what a sink has not taken yet, in order and within a limit. */
export interface RecordBuffer {
  readonly length: number;
  /** Of the texts of the records. */
  readonly bytes: number;
  /** Why it cannot keep records as it should; empty where it can. */
  readonly failure: string;
  push(records: readonly LaneRecord[]): void;
  /** The oldest ones. They stay until they are settled; one batch at a time. */
  take(limits: BatchLimits): Promise<readonly LaneRecord[]>;
  /** Ends the batch that was taken: these of it stay in the buffer, in front of all others. */
  settle(left: readonly LaneRecord[]): void;
  /** Takes out what is in memory. */
  drain(): Promise<readonly LaneRecord[]> | readonly LaneRecord[];
  /** Drops what would not outlive the agent. @param deadlineMs a disk that hangs is waited for no longer */
  close(deadlineMs?: number): Promise<void>;
}

/** Where taken records are cut off from the front of the array only when they are many. */
const COMPACT_AT = 1_024;

/** Keeps records in memory. Where it is full the oldest give way: what is newest is what people look for. */
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

  /** What is being written is not dropped: it may have arrived. It counts all the same. */
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

/** Takes records off the front of an array: at least one, where there is one. */
export function cutFront(records: LaneRecord[], { records: recordsMax, bytes: bytesMax }: BatchLimits): LaneRecord[] {
  let end = 0;
  for (let bytes = 0; end < records.length && end < recordsMax; end++) {
    bytes += records[end]?.bytes ?? 0;
    if (bytes > bytesMax && end > 0) break;
  }
  return records.splice(0, end);
}
