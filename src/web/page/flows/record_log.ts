/** Maximum number of records that the page keeps for an open edge. */
export const RECORDS_MAX = 100;

export interface SeenRecord<Value> {
  /** ID in the stream. */
  readonly id: string;
  readonly value: Value;
}

/** The most recent records of an edge in order of arrival, newest first. */
export class RecordLog<Value> {
  #records: readonly SeenRecord<Value>[] = [];
  #leftOut = 0;

  get records(): readonly SeenRecord<Value>[] {
    return this.#records;
  }

  /** Number of old records that were removed. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** ID after which the next stream continues; empty before the first record. */
  get lastId(): string {
    return this.#records[0]?.id ?? '';
  }

  add(records: readonly SeenRecord<Value>[]): void {
    const all = [...[...records].reverse(), ...this.#records];
    this.#records = all.slice(0, RECORDS_MAX);
    this.#leftOut += all.length - this.#records.length;
  }
}
