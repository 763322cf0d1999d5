import { Counts } from './counts.ts';
import type { Source } from './record.ts';

/** Number of sources that files may name besides those of pushed records; lines of further sources count as unowned. */
const SOURCES_MAX = 256;

/**
 * A file of a spool: its content on the disk, and the part of it that is not read yet. No number here can fall below
 * zero.
 */
export class Segment {
  readonly id: number;
  /** End of its last whole line. */
  bytes: number;
  /** Where the next read starts. */
  offset: number;
  /** Offset up to which it is delivered. */
  settled: number;
  /** Somebody else changes the file: nothing more is written to it. */
  isSealed = false;
  /** Lines from `offset` on. */
  readonly #unread = new Counts<{ lines: number }>(() => ({ lines: 0 }));
  #lines = 0;

  constructor(id: number, bytes = 0, offset = 0) {
    this.id = id;
    this.bytes = bytes;
    this.offset = offset;
    this.settled = offset;
  }

  /** Number of lines that are not read yet. */
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

  /**
   * Moves past a line of the given number of bytes. Returns whether the line was added before: a foreign line was not.
   */
  pass(source: Source, bytes: number): boolean {
    this.offset = Math.min(this.bytes, this.offset + bytes);
    const unread = this.#unread.of(source);
    if (unread.lines === 0) return false;
    unread.lines--;
    this.#lines--;
    return true;
  }

  /** Moves to the end. Returns the lines that were skipped. */
  skip(): [Source, number][] {
    const left = this.remaining();
    this.#unread.clear();
    this.#lines = 0;
    this.offset = this.bytes;
    return left;
  }

  /** Returns the number of lines that are not read yet, by source. */
  remaining(): [Source, number][] {
    return [...this.#unread].flatMap(([source, { lines }]) => (lines > 0 ? [[source, lines] as [Source, number]] : []));
  }
}

/** Bounds the number of sources that damaged or foreign files can make up: each is a permanent row of the ledger. */
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
