import { lastOfEach } from '#core/fair_share.ts';
import type { LaneRecord, RecordKind } from '#delivery/record.ts';

/** A record with its JSON text and its sequence number, which restarts with the agent. */
export interface Published<T> {
  readonly number: number;
  readonly value: T;
  readonly json: string;
}

/** The Pod of a record. Its fields are null if unknown. */
interface Owned {
  readonly namespace: string | null;
  readonly pod: string | null;
}

/** Sends each record of one kind to all followers, and keeps the latest records of every Pod for queries. */
export class RecordBus<T extends Owned> {
  /** Identifies this run of the agent, because sequence numbers restart in every run. */
  readonly run = Date.now().toString(36);
  readonly #kind: RecordKind<T>;
  readonly #listeners = new Set<(records: readonly Published<T>[]) => void>();
  #history: Published<T>[] = [];
  #published = 0;
  #historyMax = 0;

  constructor(kind: RecordKind<T>) {
    this.#kind = kind;
  }

  /** Publishes the values, and returns them as records for the sinks. */
  publish(values: readonly T[]): LaneRecord[] {
    const records: LaneRecord[] = [];
    const published = values.map((value) => {
      const record = this.#kind.toRecord(value);
      records.push(record);
      return { number: ++this.#published, value, json: record.json };
    });
    for (const one of published) this.#history.push(one);
    // Trimming after each batch would be expensive.
    if (this.#history.length > 2 * this.#historyMax) this.#cut();
    for (const listener of this.#listeners) listener(published);
    return records;
  }

  set historyMax(historyMax: number) {
    this.#historyMax = historyMax;
    this.#cut();
  }

  /** @param after number of the last record that the caller already has */
  history(matches: (value: T) => boolean = () => true, after = 0): Published<T>[] {
    this.#cut();
    return this.#history.filter(({ value, number }) => number > after && matches(value));
  }

  /** Calls the listener for new records until disposed. */
  follow(listener: (records: readonly Published<T>[]) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  get followers(): number {
    return this.#listeners.size;
  }

  #cut(): void {
    if (this.#history.length > this.#historyMax) {
      this.#history = lastOfEach(this.#history, ({ value }) => ownerOf(value), this.#historyMax);
    }
  }
}

/**
 * Records without a known Pod share one quota, because otherwise short-lived network namespaces could displace all
 * other records.
 */
function ownerOf({ namespace, pod }: Owned): string {
  return pod === null ? '' : `${namespace}/${pod}`;
}
