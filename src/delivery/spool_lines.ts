import { isUtf8 } from 'node:buffer';
import { SEVERITIES } from '#api/words.ts';
import type { LaneRecord, Source, StoredKind } from './record.ts';

/** `request/1 http {…}`: record kind, version of its JSON format, probe, JSON. */
const HEADER = /^([a-z0-9_]{1,64})\/(\d{1,6}) ([a-z0-9_]{1,64}) (?=\{)/;
/** A line without a header is an event from a version of netsonde that had no other kinds. */
const BARE = { kind: 'event', version: 1 };
/** Source of lines whose kind and probe are unreadable. */
export const NOBODY: Source = { kind: BARE.kind, probe: 'unknown' };
const NEWLINE = 0x0a;
/** Maximum length of a line in bytes, far more than any record needs. A longer line is read as several lines. */
const LINE_BYTES_MAX = 1024 * 1024;

/** A line of a spool file. */
export interface Line {
  /** Text without the line break. */
  readonly text: string;
  /** Whether the bytes are valid UTF-8. If not, `text` contains replacement characters. */
  readonly isText: boolean;
  /** Size of the line in the file, in bytes. */
  readonly bytes: number;
}

/** @param isEnd whether the bytes after the last line break also form a line */
export function splitLines(bytes: Buffer, isEnd: boolean): { readonly lines: Line[]; readonly rest: Buffer } {
  const lines: Line[] = [];
  let start = 0;
  while (start < bytes.length) {
    const newline = bytes.indexOf(NEWLINE, start);
    const isLong = (newline < 0 ? bytes.length : newline) - start >= LINE_BYTES_MAX;
    if (newline < 0 && !isLong && !isEnd) break;
    const end = isLong ? start + LINE_BYTES_MAX : newline < 0 ? bytes.length : newline + 1;
    const line = bytes.subarray(start, !isLong && newline >= 0 ? newline : end);
    lines.push({ text: line.toString('utf8'), isText: isUtf8(line), bytes: end - start });
    start = end;
  }
  return { lines, rest: bytes.subarray(start) };
}

/** Converts between records and spool lines. */
export class SpoolLines {
  readonly #kinds: ReadonlyMap<string, StoredKind>;

  /** @param kinds all record kinds */
  constructor(kinds: readonly StoredKind[]) {
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
  }

  /** Returns the line without a line break. */
  format({ kind, probe, json }: LaneRecord): string {
    return `${kind}/${this.#kinds.get(kind)?.version ?? 0} ${probe} ${json}`;
  }

  /**
   * Parses a line. Returns undefined if this version of netsonde does not support the kind, or the version of its JSON
   * format.
   * @param source kind and probe under which the line was counted
   * @throws if the line is malformed, because one invalid record would make a sink lose its whole batch
   */
  parse({ text, isText }: Line, source: Source): LaneRecord | undefined {
    const [header = '', kind = BARE.kind, version = BARE.version] = HEADER.exec(text) ?? [];
    const record = this.#kinds.get(kind)?.restore(Number(version), text.slice(header.length));
    if (record === undefined) return undefined;
    if (!isText || !isRecord(record) || record.kind !== source.kind || record.probe !== source.probe) {
      throw new Error('the line is not a record');
    }
    return record;
  }
}

function isRecord({ timeNs, severity, stream, metadata }: LaneRecord): boolean {
  const labels = [...Object.values(stream), ...Object.values(metadata)] as unknown[];
  return (
    /^\d{1,20}$/.test(timeNs) && SEVERITIES.includes(severity) && labels.every((label) => typeof label === 'string')
  );
}

/** Reads the kind and the probe of a line, even if the rest is malformed. */
export function sourceOf(line: string): Source {
  const [, kind, , probe] = HEADER.exec(line) ?? [];
  if (kind !== undefined && probe !== undefined) return { kind, probe };
  return { kind: BARE.kind, probe: /"probe":"([a-z0-9_]{1,64})"/.exec(line)?.[1] ?? NOBODY.probe };
}
