import { growable, reserve } from './growable.ts';

/** Alignment of strings in bytes. */
const UNIT = 8;
/** Number of bytes before each string that contain its length. */
const HEAD = 2;
/** Maximum length of a string in bytes. */
export const TEXT_BYTES_MAX = 2 ** 16 - 1;

/**
 * Stores short strings as UTF-8 outside the JavaScript heap. A name of 30 characters takes 32 bytes instead of 56, and
 * the garbage collector does not visit it. The space of a deleted string is reused for strings of the same size.
 */
export class TextHeap {
  readonly #bytes = growable(Uint8Array);
  /** Number of units in use, including those of deleted strings. */
  #end = 0;
  /** Numbers of deleted strings, by size in units. */
  readonly #unused = new Map<number, number[]>();

  /**
   * Returns the number that identifies the string.
   * @throws {RangeError} if the string is too long
   */
  add(text: string): number {
    const length = Buffer.byteLength(text);
    if (length > TEXT_BYTES_MAX) throw new RangeError(`a text of ${length} bytes`);
    const units = unitsOf(length);
    const at = this.#unused.get(units)?.pop() ?? this.#extend(units);
    const start = at * UNIT;
    this.#bytes[start] = length & 0xff;
    this.#bytes[start + 1] = length >> 8;
    this.#view(start + HEAD, length).write(text);
    return at;
  }

  get(at: number): string {
    return this.#view(at * UNIT + HEAD, this.#lengthAt(at)).toString();
  }

  delete(at: number): void {
    const units = unitsOf(this.#lengthAt(at));
    const unused = this.#unused.get(units);
    if (unused === undefined) this.#unused.set(units, [at]);
    else unused.push(at);
  }

  #lengthAt(at: number): number {
    const start = at * UNIT;
    return (this.#bytes[start] as number) | ((this.#bytes[start + 1] as number) << 8);
  }

  #view(start: number, length: number): Buffer {
    return Buffer.from(this.#bytes.buffer, start, length);
  }

  #extend(units: number): number {
    const at = this.#end;
    this.#end += units;
    reserve(this.#bytes, this.#end * UNIT);
    return at;
  }
}

function unitsOf(length: number): number {
  return Math.ceil((HEAD + length) / UNIT);
}

/** Assigns numbers to strings that many entries share, such as the names of Kubernetes namespaces. */
export class SharedTexts {
  readonly #numbers = new Map<string, number>();
  readonly #texts: string[] = [''];
  readonly #uses: number[] = [1];
  readonly #unused: number[] = [];

  /** Returns the number of a string, and counts one more use of it. The empty string has number 0. */
  add(text: string): number {
    if (text === '') return 0;
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#unused.pop() ?? this.#texts.length;
      this.#numbers.set(text, number);
      this.#texts[number] = text;
      this.#uses[number] = 0;
    }
    this.#uses[number] = (this.#uses[number] as number) + 1;
    return number;
  }

  get(number: number): string {
    return this.#texts[number] as string;
  }

  /** Releases one use of a number. The last release frees the number. */
  delete(number: number): void {
    if (number === 0) return;
    const left = (this.#uses[number] as number) - 1;
    this.#uses[number] = left;
    if (left > 0) return;
    this.#numbers.delete(this.get(number));
    this.#texts[number] = '';
    this.#unused.push(number);
  }

  /** Number of different strings, excluding the empty string. */
  get size(): number {
    return this.#numbers.size;
  }
}
