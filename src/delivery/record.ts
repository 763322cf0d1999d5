import type { Severity } from '#api/words.ts';

export type Labels = Readonly<Record<string, string>>;

/** Whose a record is in the ledger. */
export interface Source {
  readonly kind: string;
  /** Name of the probe that it comes from. */
  readonly probe: string;
}

/** A finished record of any kind. Sinks, queues and spools know no more of it than this. */
export interface LaneRecord extends Source {
  /** Nanoseconds since the epoch, in decimal: more than a number can hold. */
  readonly timeNs: string;
  readonly severity: Severity;
  /** Few, each with few values: every combination is a stream of Loki. */
  readonly stream: Labels;
  /** What people look records up by, with any number of values. */
  readonly metadata: Labels;
  /** One JSON object, on one line. Flat but for single fields; with `node`, and a sentence as `message` where the kind has one. */
  readonly json: string;
  /** Of `json` in UTF-8. */
  readonly bytes: number;
}

/** What a spool knows of a kind. */
export interface StoredKind {
  /** Lower case letters, digits and `_`. */
  readonly name: string;
  /** Of its JSON. A change that makes `restore` read it in another way takes the next number. */
  readonly version: number;
  /**
   * The record of a text that this version of netsonde or an earlier one has written; undefined for a version that it does not know.
   * @throws where the text is malformed
   */
  restore(version: number, json: string): LaneRecord | undefined;
}

/** The descriptor of a kind: makes its records, each one once. */
export interface RecordKind<T> extends StoredKind {
  toRecord(value: T): LaneRecord;
}

/** A label without a value is one that is not there. */
export function labelsOf(values: Readonly<Record<string, string | null | undefined>>): Labels {
  const labels: Record<string, string> = {};
  for (const name in values) {
    const value = values[name];
    if (value) labels[name] = value;
  }
  return labels;
}
