import { isUtf8 } from 'node:buffer';
import { SEVERITIES } from '#api/words.ts';
import type { LaneRecord, Source, StoredKind } from './record.ts';

/** `request/1 http {…}`: kind, version of its JSON, probe, JSON. */
const HEADER = /^([a-z0-9_]{1,64})\/(\d{1,6}) ([a-z0-9_]{1,64}) (?=\{)/;
/** A line without a header is an event: earlier versions of netsonde had no other kind. */
const BARE = { kind: 'event', version: 1 };
/** Source of lines that no longer show their kind and probe. */
export const NOBODY: Source = { kind: BARE.kind, probe: 'unknown' };
const NEWLINE = 0x0a;
/** Our lines are far shorter. A longer line is read as several. */
const LINE_BYTES_MAX = 1024 * 1024;

/** A line of a file. */
export interface Line {
  /** Its text without the line end. */
  readonly text: string;
  /** Says whether its bytes are valid UTF-8; where they are not, `text` has replacement characters. */
  readonly isText: boolean;
  /** Bytes that the line takes in the file. */
  readonly bytes: number;
}

/** @param isEnd bytes after the last line end are a line as well */
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

/** Formats records as lines of a spool, and parses them. */
export class SpoolLines {
  readonly #kinds: ReadonlyMap<string, StoredKind>;

  /** @param kinds all kinds that exist */
  constructor(kinds: readonly StoredKind[]) {
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
  }

  /** Returns the line without its line end. */
  format({ kind, probe, json }: LaneRecord): string {
    return `${kind}/${this.#kinds.get(kind)?.version ?? 0} ${probe} ${json}`;
  }

  /**
   * Returns undefined for a kind, or a version of its JSON, that only another version of netsonde knows.
   * @param source kind and probe under which it was counted
   * @throws where the line is malformed: sinks rely on valid records, and an invalid one would cost its whole batch
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

/** Reads kind and probe of a line, even where the rest of it is malformed. */
export function sourceOf(line: string): Source {
  const [, kind, , probe] = HEADER.exec(line) ?? [];
  if (kind !== undefined && probe !== undefined) return { kind, probe };
  return { kind: BARE.kind, probe: /"probe":"([a-z0-9_]{1,64})"/.exec(line)?.[1] ?? NOBODY.probe };
}
