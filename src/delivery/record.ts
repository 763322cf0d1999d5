import type { Severity } from '#api/words.ts';

export type Labels = Readonly<Record<string, string>>;

/** Record kind and probe, by which the ledger counts. */
export interface Source {
  readonly kind: string;
  /** Name of the probe that produced the record. */
  readonly probe: string;
}

/** A finished record. Sinks, queues and spools handle all kinds in the same way. */
export interface LaneRecord extends Source {
  /** Nanoseconds since the epoch; decimal, because they exceed the safe integers. */
  readonly timeNs: string;
  readonly severity: Severity;
  /** Labels with few values, because each combination is a stream in Loki. */
  readonly stream: Labels;
  /** Further labels to search by, with any number of values. */
  readonly metadata: Labels;
  /** A JSON object on one line, mostly flat. It has `node` and, if the kind has messages, a sentence in `message`. */
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
   * Restores a record from JSON that this or an earlier version of netsonde wrote. Returns undefined for an unknown version.
   * @throws if the JSON is malformed
   */
  restore(version: number, json: string): LaneRecord | undefined;
}

/** Describes a record kind, and converts values to records. */
export interface RecordKind<T> extends StoredKind {
  toRecord(value: T): LaneRecord;
}

/** Returns labels without the empty ones, because an empty label is the same as none. */
export function labelsOf(values: Readonly<Record<string, string | null | undefined>>): Labels {
  const labels: Record<string, string> = {};
  for (const name in values) {
    const value = values[name];
    if (value) labels[name] = value;
  }
  return labels;
}
