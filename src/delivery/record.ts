import type { Severity } from '#api/words.ts';

export type Labels = Readonly<Record<string, string>>;

/** Record kind and probe. The ledger counts records separately for each combination. */
export interface Source {
  readonly kind: string;
  /** Name of the probe that produced the record. */
  readonly probe: string;
}

/** A record in its final form. Sinks, queues and spools treat all kinds alike. */
export interface LaneRecord extends Source {
  /** Nanoseconds since the epoch, as a decimal string because they exceed `Number.MAX_SAFE_INTEGER`. */
  readonly timeNs: string;
  readonly severity: Severity;
  /** Labels with few distinct values, because each combination is a stream in Loki. */
  readonly stream: Labels;
  /** Additional searchable labels, with any number of distinct values. */
  readonly metadata: Labels;
  /**
   * A mostly flat JSON object on a single line. It includes `node` and, for kinds with messages, a sentence in
   * `message`.
   */
  readonly json: string;
  /** Size of `json` in bytes. */
  readonly bytes: number;
}

/** The part of a record kind that a spool needs. */
export interface StoredKind {
  /** Lower-case letters, digits and `_`. */
  readonly name: string;
  /** Version of the JSON format. A change that affects `restore` increments it. */
  readonly version: number;
  /**
   * Restores a record from JSON that this or an earlier version of netsonde wrote. Returns undefined for an unknown
   * format version.
   * @throws if the JSON is malformed
   */
  restore(version: number, json: string): LaneRecord | undefined;
}

/** Describes a record kind, and converts values to records. */
export interface RecordKind<T> extends StoredKind {
  toRecord(value: T): LaneRecord;
}

/** Returns the labels that are not empty, because an empty label is equivalent to a missing one. */
export function labelsOf(values: Readonly<Record<string, string | null | undefined>>): Labels {
  const labels: Record<string, string> = {};
  for (const name in values) {
    const value = values[name];
    if (value) labels[name] = value;
  }
  return labels;
}
