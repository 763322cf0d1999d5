import type { Counter } from '#core/counter.ts';

const CHUNK_BYTES = 256 * 1024;
/** Longest number: a 64-bit one has 20 digits, a double in its shortest form 24 characters. */
const NUMBER_BYTES_MAX = 32;

const ZERO = 0x30;
const INT32_MAX = 2 ** 31 - 1;
const BILLION = 1_000_000_000;

const encoder = new TextEncoder();

export function encode(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * Writes text into chunks of bytes. Joining 100,000 strings takes twice as long, and leaves garbage of the same size
 * behind; and chunks can be handed to another thread as they are.
 */
export class TextWriter {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #chunk = newChunk(CHUNK_BYTES);
  #at = 0;

  bytes(bytes: Uint8Array): void {
    if (this.#at + bytes.length > this.#chunk.length) this.#next(bytes.length);
    this.#chunk.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  text(text: string): void {
    this.bytes(encode(text));
  }

  /** A number as both text formats want it. */
  number(value: Counter): void {
    if (this.#at + NUMBER_BYTES_MAX > this.#chunk.length) this.#next(NUMBER_BYTES_MAX);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
      if (value <= INT32_MAX) this.#integer(value);
      else this.#longInteger(value);
      return;
    }
    this.#ascii(formatNumber(value));
  }

  /** The chunks; the writer is done. */
  finish(): Uint8Array<ArrayBuffer>[] {
    if (this.#at > 0) this.#chunks.push(this.#chunk.subarray(0, this.#at));
    return this.#chunks;
  }

  #next(bytes: number): void {
    if (this.#at > 0) this.#chunks.push(this.#chunk.subarray(0, this.#at));
    this.#chunk = newChunk(Math.max(CHUNK_BYTES, bytes));
    this.#at = 0;
  }

  #integer(value: number): void {
    let digits = 1;
    for (let bound = 10; digits < 10 && value >= bound; bound *= 10) digits++;
    this.#digits(value, digits);
  }

  #longInteger(value: number): void {
    const high = Math.floor(value / BILLION);
    const low = value - high * BILLION;
    if (high > INT32_MAX) this.#longInteger(high);
    else this.#integer(high);
    this.#digits(low, 9);
  }

  /** The lowest `digits` digits, zeros in front. */
  #digits(value: number, digits: number): void {
    let rest = value | 0;
    for (let at = this.#at + digits - 1; at >= this.#at; at--) {
      const tenth = (rest / 10) | 0;
      this.#chunk[at] = ZERO + rest - tenth * 10;
      rest = tenth;
    }
    this.#at += digits;
  }

  #ascii(text: string): void {
    for (let index = 0; index < text.length; index++) this.#chunk[this.#at++] = text.charCodeAt(index);
  }
}

function newChunk(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

export function formatNumber(value: Counter): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
