import { Counts } from './counts.ts';
import type { Source } from './record.ts';

/**
 * Maximum number of sources that files can add to the ledger. Lines of all other sources are counted under the fallback
 * source.
 */
const SOURCES_MAX = 256;

/** A spool file with its read position. Its counts cannot become negative, even if the file is damaged. */
export class Segment {
  readonly id: number;
  /** Offset of the end of the last complete line. */
  bytes: number;
  /** Offset where the next read starts. */
  offset: number;
  /** Offset up to which the records are delivered. */
  settled: number;
  /** Whether another program has changed the file, so that nothing more is appended. */
  isSealed = false;
  /** Number of lines from `offset` onward, by source. */
  readonly #unread = new Counts<{ lines: number }>(() => ({ lines: 0 }));
  #lines = 0;

  constructor(id: number, bytes = 0, offset = 0) {
    this.id = id;
    this.bytes = bytes;
    this.offset = offset;
    this.settled = offset;
  }

  /** Number of unread lines. */
  get lines(): number {
    return this.#lines;
  }

  get unreadBytes(): number {
    return this.bytes - this.offset;
  }

  add(source: Source): void {
    this.#unread.of(source).lines++;
    this.#lines++;
  }

  /** Moves past a line. Returns false if the line was not counted by `add`, because another program wrote it. */
  pass(source: Source, bytes: number): boolean {
    this.offset = Math.min(this.bytes, this.offset + bytes);
    const unread = this.#unread.of(source);
    if (unread.lines === 0) return false;
    unread.lines--;
    this.#lines--;
    return true;
  }

  /** Moves to the end of the file, and returns the skipped lines by source. */
  skip(): [Source, number][] {
    const left = this.remaining();
    this.#unread.clear();
    this.#lines = 0;
    this.offset = this.bytes;
    return left;
  }

  /** Returns the number of unread lines by source. */
  remaining(): [Source, number][] {
    return [...this.#unread].flatMap(([source, { lines }]) => (lines > 0 ? [[source, lines] as [Source, number]] : []));
  }
}

/** Limits the number of sources from damaged or foreign files, because each source stays in the ledger permanently. */
export class KnownSources {
  readonly #fallback: Source;
  readonly #known = new Set<string>();

  constructor(fallback: Source) {
    this.#fallback = fallback;
  }

  bound(source: Source): Source {
    const key = `${source.kind} ${source.probe}`;
    if (this.#known.has(key)) return source;
    if (this.#known.size >= SOURCES_MAX) return this.#fallback;
    this.#known.add(key);
    return source;
  }
}
