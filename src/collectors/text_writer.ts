import type { Counter } from '#core/counter.ts';
import { NUMBER_BYTES_MAX, writeNumber } from './number_text.ts';

const CHUNK_BYTES = 256 * 1024;

const encoder = new TextEncoder();

export function encode(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * Chunks of the last page, which the next page overwrites. Allocating new memory would cost more than writing the text.
 */
export class ChunkPool {
  #free: Uint8Array<ArrayBuffer>[] = [];

  take(bytes: number): Uint8Array<ArrayBuffer> {
    const chunk = this.#free.pop();
    return chunk !== undefined && chunk.length >= bytes ? chunk : newChunk(Math.max(CHUNK_BYTES, bytes));
  }

  /** Keeps the chunks of one page. */
  give(chunks: Uint8Array<ArrayBuffer>[]): void {
    this.#free = chunks;
  }
}

/**
 * Writes text into chunks of bytes, which is twice as fast as joining 100,000 strings and leaves less garbage. The
 * chunks can be transferred to another thread.
 */
export class TextWriter {
  readonly #pool: ChunkPool;
  readonly #texts: Uint8Array<ArrayBuffer>[] = [];
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #chunk: Uint8Array<ArrayBuffer>;
  #at = 0;

  /** @param pool source of the chunks; by default, all chunks are new */
  constructor(pool = new ChunkPool()) {
    this.#pool = pool;
    this.#chunk = pool.take(CHUNK_BYTES);
  }

  bytes(bytes: Uint8Array): void {
    if (this.#at + bytes.length > this.#chunk.length) this.#next(bytes.length);
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  text(text: string): void {
    this.bytes(encode(text));
  }

  /** Writes a number in the notation of both text formats. */
  number(value: Counter): void {
    if (this.#at + NUMBER_BYTES_MAX > this.#chunk.length) this.#next(NUMBER_BYTES_MAX);
    this.#at = writeNumber(this.#chunk, this.#at, value);
  }

  /** Returns the chunks. The writer must not be used afterwards. */
  finish(): Uint8Array<ArrayBuffer>[] {
    if (this.#at > 0) this.#texts.push(this.#chunk.subarray(0, this.#at));
    return this.#texts;
  }

  /** Returns the chunks to the pool. The text must not be used afterwards. */
  release(): void {
    this.#pool.give([...this.#chunks, this.#chunk]);
  }

  #next(bytes: number): void {
    if (this.#at > 0) this.#texts.push(this.#chunk.subarray(0, this.#at));
    this.#chunks.push(this.#chunk);
    this.#chunk = this.#pool.take(bytes);
    this.#at = 0;
  }
}

function newChunk(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
