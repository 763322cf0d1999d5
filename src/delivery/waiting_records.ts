import { type BatchLimits, sumBytes } from './buffer.ts';
import type { LaneRecord } from './record.ts';

/** Records in memory that wait to be written to disk, oldest first. */
export class WaitingRecords {
  readonly #records: LaneRecord[] = [];
  #bytes = 0;

  get length(): number {
    return this.#records.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds records. Removes and returns the oldest records that exceed the limits. */
  push(records: readonly LaneRecord[], limits: BatchLimits): readonly LaneRecord[] {
    for (const record of records) {
      this.#records.push(record);
      this.#bytes += record.bytes;
    }
    let excess = 0;
    for (; this.#records.length - excess > limits.records || this.#bytes > limits.bytes; excess++) {
      this.#bytes -= this.#records[excess]?.bytes ?? 0;
    }
    return excess === 0 ? [] : this.#records.splice(0, excess);
  }

  /** Removes and returns as many of the oldest records as the limits allow, but at least one. */
  cut({ records: recordsMax, bytes: bytesMax }: BatchLimits): readonly LaneRecord[] {
    let end = 0;
    for (let bytes = 0; end < this.#records.length && end < recordsMax; end++) {
      bytes += this.#records[end]?.bytes ?? 0;
      if (bytes > bytesMax && end > 0) break;
    }
    const records = this.#records.splice(0, end);
    this.#bytes -= sumBytes(records);
    return records;
  }

  /** Adds records that are older than all others. */
  putBack(records: readonly LaneRecord[]): void {
    this.#records.unshift(...records);
    this.#bytes += sumBytes(records);
  }

  /** Removes and returns all records. */
  drain(): readonly LaneRecord[] {
    this.#bytes = 0;
    return this.#records.splice(0);
  }
}
