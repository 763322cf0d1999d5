import type { LaneRecord, Source, StoredKind } from './record.ts';

/** `request/1 http {…}`: kind, version of its JSON, probe, JSON. */
const HEADER = /^([a-z0-9_]{1,64})\/(\d{1,6}) ([a-z0-9_]{1,64}) (?=\{)/;
/** A line without a header is an event: earlier versions of netsonde knew nothing else. */
const BARE = { kind: 'event', version: 1 };
/** For lines that say no more whose they are. */
const UNKNOWN_PROBE = 'unknown';

/** Records as lines of a spool, and back. */
export class SpoolLines {
  readonly #kinds: ReadonlyMap<string, StoredKind>;

  /** @param kinds every kind that there is */
  constructor(kinds: readonly StoredKind[]) {
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
  }

  /** Without its line end. */
  format({ kind, probe, json }: LaneRecord): string {
    return `${kind}/${this.#kinds.get(kind)?.version ?? 0} ${probe} ${json}`;
  }

  /**
   * Undefined for a kind, or a version of its JSON, that only another version of netsonde knows.
   * @throws where the line is malformed
   */
  parse(line: string): LaneRecord | undefined {
    const [header = '', kind = BARE.kind, version = BARE.version] = HEADER.exec(line) ?? [];
    return this.#kinds.get(kind)?.restore(Number(version), line.slice(header.length));
  }
}

/** Whose a line is, also where the rest of it is malformed. */
export function sourceOf(line: string): Source {
  const [, kind, , probe] = HEADER.exec(line) ?? [];
  if (kind !== undefined && probe !== undefined) return { kind, probe };
  return { kind: BARE.kind, probe: /"probe":"([a-z0-9_]{1,64})"/.exec(line)?.[1] ?? UNKNOWN_PROBE };
}
