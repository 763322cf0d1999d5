import { Counts } from './counts.ts';
import type { Source } from './record.ts';

/** Sources that files may name beside those of records that were pushed; the lines of others are nobody's. */
const SOURCES_MAX = 256;

/** A file of a spool: what is on the disk, and what of it is not read yet. No number here can fall below zero. */
export class Segment {
  readonly id: number;
  /** End of its last whole line. */
  bytes: number;
  /** Where it is read next. */
  offset: number;
  /** Up to where it is delivered. */
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

  /** Lines that are not read yet. */
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

  /** Goes behind a line of so many bytes. Returns whether it was added before: what others write was not. */
  pass(source: Source, bytes: number): boolean {
    this.offset = Math.min(this.bytes, this.offset + bytes);
    const unread = this.#unread.of(source);
    if (unread.lines === 0) return false;
    unread.lines--;
    this.#lines--;
    return true;
  }

  /** Goes to the end. Returns the lines that were not read on the way. */
  skip(): [Source, number][] {
    const left = this.remaining();
    this.#unread.clear();
    this.#lines = 0;
    this.offset = this.bytes;
    return left;
  }

  /** The lines that are not read yet, by source. */
  remaining(): [Source, number][] {
    return [...this.#unread].flatMap(([source, { lines }]) => (lines > 0 ? [[source, lines] as [Source, number]] : []));
  }
}

/** Bounds the number of sources that damaged or foreign files can make up: each is a row of the ledger for good. */
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
