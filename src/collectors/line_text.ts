import type { Counter } from '#core/counter.ts';
import { NUMBER_BYTES_MAX, writeNumber } from './number_text.ts';

const LINE = 0x0a;
const BYTES_FIRST = 512;
const LINES_FIRST = 8;
const GROWTH = 1.5;
/** A buffer is shrunk if its size exceeds the size of the text by more than this factor. */
const ROOM = 4;
const NOTHING = new Uint8Array();

/** Temporary buffer for text that is moved. All families of a page share one buffer. */
export class Scratch {
  bytes = new Uint8Array(BYTES_FIRST);
  readonly number = new Uint8Array(NUMBER_BYTES_MAX);

  /** Ensures that the buffer has at least the given size. Keeps the first `used` bytes. */
  reserve(bytes: number, used: number): void {
    this.bytes = reserved(this.bytes, bytes, used);
  }
}

/**
 * Lines that each end in a value and are updated in place. A new value with as many digits as the old value overwrites
 * it. If the length of a value changes, the text after it is moved.
 */
export class LineText {
  readonly #scratch: Scratch;
  #bytes = new Uint8Array(BYTES_FIRST);
  #length = 0;
  #lines = 0;
  /**
   * Position and length of the text of each line's value, and the value itself. NaN stands for a bigint, which is
   * always rewritten because NaN is not equal to any value.
   */
  #at = new Int32Array(LINES_FIRST);
  #digits = new Uint8Array(LINES_FIRST);
  #values = new Float64Array(LINES_FIRST);
  #line = 0;
  /**
   * During a move, the number of bytes of the old text that are already in the scratch buffer (-1 if there is no move),
   * and the number of bytes by which the text after them is shifted.
   */
  #moved = -1;
  #shift = 0;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  /** Removes all lines. */
  clear(): void {
    if (this.#length * ROOM < this.#bytes.length) this.#bytes = new Uint8Array(this.#length);
    if (this.#lines * ROOM < this.#at.length) this.#resizeLines(this.#lines);
    this.#length = 0;
    this.#lines = 0;
  }

  append(bytes: Uint8Array): void {
    this.#bytes = reserved(this.#bytes, this.#length + bytes.length, this.#length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /**
   * Appends a value and ends the line.
   * @param tail text after the value, which stays if the value changes
   */
  appendValue(value: Counter, tail: Uint8Array = NOTHING): void {
    const line = this.#lines++;
    if (line >= this.#at.length) this.#resizeLines(Math.max(LINES_FIRST, this.#at.length * 2));
    this.#bytes = reserved(this.#bytes, this.#length + NUMBER_BYTES_MAX + tail.length + 1, this.#length);
    const end = writeNumber(this.#bytes, this.#length, value);
    this.#at[line] = this.#length;
    this.#digits[line] = end - this.#length;
    this.#values[line] = typeof value === 'number' ? value : Number.NaN;
    this.#bytes.set(tail, end);
    this.#bytes[end + tail.length] = LINE;
    this.#length = end + tail.length + 1;
  }

  /** Goes back to the first line. */
  rewind(): void {
    this.#line = 0;
    this.#moved = -1;
    this.#shift = 0;
  }

  /** Sets the value of the next line. */
  next(value: Counter): void {
    const line = this.#line++;
    if (value !== this.#values[line]) this.#replace(line, value);
    else if (this.#shift !== 0) this.#at[line] = (this.#at[line] as number) + this.#shift;
  }

  /** Completes the update that `rewind` started. */
  settle(): void {
    if (this.#moved < 0) return;
    const end = this.#take(this.#length);
    this.#bytes = reserved(this.#bytes, end, 0);
    this.#bytes.set(this.#scratch.bytes.subarray(0, end));
    this.#length = end;
    this.#moved = -1;
  }

  /** Returns the text, which is valid until it changes. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #replace(line: number, value: Counter): void {
    const { number } = this.#scratch;
    const at = this.#at[line] as number;
    const before = this.#digits[line] as number;
    const digits = writeNumber(number, 0, value);
    this.#values[line] = typeof value === 'number' ? value : Number.NaN;
    if (this.#moved < 0 && digits === before) {
      copyShort(number, this.#bytes, at, digits);
      return;
    }
    if (this.#moved < 0) this.#moved = 0;
    const to = this.#take(at);
    this.#scratch.reserve(to + digits, to);
    copyShort(number, this.#scratch.bytes, to, digits);
    this.#at[line] = to;
    this.#digits[line] = digits;
    this.#moved = at + before;
    this.#shift += digits - before;
  }

  /**
   * Copies the text up to `end` to the scratch buffer, except the part that is already there.
   * @returns end of the copied text in the scratch buffer
   */
  #take(end: number): number {
    const to = this.#moved + this.#shift;
    const length = end - this.#moved;
    this.#scratch.reserve(to + length, to);
    this.#scratch.bytes.set(this.#bytes.subarray(this.#moved, end), to);
    this.#moved = end;
    return to + length;
  }

  #resizeLines(length: number): void {
    const at = new Int32Array(length);
    at.set(this.#at.subarray(0, length));
    this.#at = at;
    const digits = new Uint8Array(length);
    digits.set(this.#digits.subarray(0, length));
    this.#digits = digits;
    const values = new Float64Array(length);
    values.set(this.#values.subarray(0, length));
    this.#values = values;
  }
}

/** Copies a few bytes one by one, because `set` would be slower. */
function copyShort(from: Uint8Array, to: Uint8Array, at: number, length: number): void {
  for (let index = 0; index < length; index++) to[at + index] = from[index] as number;
}

function reserved(bytes: Uint8Array<ArrayBuffer>, length: number, used: number): Uint8Array<ArrayBuffer> {
  if (length <= bytes.length) return bytes;
  const longer = new Uint8Array(Math.max(length, Math.ceil(bytes.length * GROWTH)));
  longer.set(bytes.subarray(0, used));
  return longer;
}
