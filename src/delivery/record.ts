import type { Severity } from '#api/words.ts';

export type Labels = Readonly<Record<string, string>>;

/** Kind and probe under which the ledger counts a record. */
export interface Source {
  readonly kind: string;
  /** Name of the probe that produced it. */
  readonly probe: string;
}

/** A finished record of any kind. Sinks, queues and spools know nothing else about it. */
export interface LaneRecord extends Source {
  /** Nanoseconds since the epoch, in decimal, because a number cannot hold them. */
  readonly timeNs: string;
  readonly severity: Severity;
  /** Few labels, each with few values: every combination is a stream of Loki. */
  readonly stream: Labels;
  /** Labels that people look records up by, with any number of values. */
  readonly metadata: Labels;
  /**
   * One JSON object, on one line. It is flat except for single fields; it has `node`, and a sentence as `message` where the kind has
   * one.
   */
  readonly json: string;
  /** Bytes of `json` in UTF-8. */
  readonly bytes: number;
}

/** The part of a kind's descriptor that a spool needs. */
export interface StoredKind {
  /** Lower case letters, digits and `_`. */
  readonly name: string;
  /** Version of its JSON. A change that makes `restore` read the JSON differently takes the next number. */
  readonly version: number;
  /**
   * Returns the record of a text that this version of netsonde or an earlier one has written; undefined for an unknown version.
   * @throws where the text is malformed
   */
  restore(version: number, json: string): LaneRecord | undefined;
}

/** The descriptor of a kind: makes each of its records, once. */
export interface RecordKind<T> extends StoredKind {
  toRecord(value: T): LaneRecord;
}

/** A label without a value is the same as no label. */
export function labelsOf(values: Readonly<Record<string, string | null | undefined>>): Labels {
  const labels: Record<string, string> = {};
  for (const name in values) {
    const value = values[name];
    if (value) labels[name] = value;
  }
  return labels;
}
