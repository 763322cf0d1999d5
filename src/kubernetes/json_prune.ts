/**
 * Parts of a JSON value to keep: `true` for the whole value, or an object with the keys to keep and a shape for each of
 * them. For a list, the shape applies to each item. A value that is neither an object nor a list is kept.
 */
export type Shape = true | { readonly [key: string]: Shape };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/**
 * Parses only those parts of a JSON text that the shape contains. Other parts, such as the environment variables of a
 * Pod, are skipped without allocating strings or objects.
 * @throws {SyntaxError} if the JSON is truncated, or if a part to keep is malformed
 */
export function parsePruned(bytes: Buffer, shape: Shape): unknown {
  if (shape === true) return JSON.parse(bytes.toString());
  const pruner = new Pruner(bytes);
  pruner.value(shape);
  return JSON.parse(pruner.finish());
}

class Pruner {
  readonly #bytes: Buffer;
  #at = 0;
  #text = '';

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(shape: Shape): void {
    const first = this.#peek();
    if (shape !== true && first === OPEN_BRACE) this.#object(shape);
    else if (shape !== true && first === OPEN_BRACKET) this.#list(shape);
    else this.#text += this.#skipped();
  }

  finish(): string {
    return this.#text + this.#bytes.toString('utf8', this.#at);
  }

  #object(shape: { readonly [key: string]: Shape }): void {
    this.#take(OPEN_BRACE);
    this.#text += '{';
    let separator = '';
    for (let more = this.#peek() !== CLOSE_BRACE; more; more = this.#goesOn(CLOSE_BRACE)) {
      if (this.#peek() !== QUOTE) throw this.#fault();
      const raw = this.#skipped();
      const key = JSON.parse(raw) as string;
      this.#take(COLON);
      const kept = Object.hasOwn(shape, key) ? shape[key] : undefined;
      if (kept === undefined) this.#skip();
      else {
        this.#text += `${separator}${raw}:`;
        separator = ',';
        this.value(kept);
      }
    }
    this.#take(CLOSE_BRACE);
    this.#text += '}';
  }

  #list(shape: Shape): void {
    this.#take(OPEN_BRACKET);
    this.#text += '[';
    let separator = '';
    for (let more = this.#peek() !== CLOSE_BRACKET; more; more = this.#goesOn(CLOSE_BRACKET)) {
      this.#text += separator;
      separator = ',';
      this.value(shape);
    }
    this.#take(CLOSE_BRACKET);
    this.#text += ']';
  }

  /** Returns whether another item follows. @throws if neither an item nor the end follows */
  #goesOn(end: number): boolean {
    const next = this.#peek();
    if (next === end) return false;
    this.#take(COMMA);
    // A trailing comma is malformed.
    if (this.#peek() === end) throw this.#fault();
    return true;
  }

  /** Skips a value, and returns its text. */
  #skipped(): string {
    this.#peek();
    const start = this.#at;
    this.#skip();
    return this.#bytes.toString('utf8', start, this.#at);
  }

  #skip(): void {
    const first = this.#peek();
    if (first === QUOTE) this.#skipString();
    else if (first === OPEN_BRACE || first === OPEN_BRACKET) this.#skipNested();
    else {
      const start = this.#at;
      while (this.#at < this.#bytes.length && !isEnd(this.#bytes[this.#at])) this.#at++;
      if (this.#at === start) throw this.#fault();
    }
  }

  #skipNested(): void {
    let depth = 0;
    do {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw this.#fault();
      if (byte === QUOTE) {
        this.#skipString();
        continue;
      }
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
      this.#at++;
    } while (depth > 0);
  }

  #skipString(): void {
    for (let from = this.#at + 1; ; ) {
      const end = this.#bytes.indexOf(QUOTE, from);
      if (end < 0) throw this.#fault();
      let before = end;
      while (this.#bytes[before - 1] === BACKSLASH) before--;
      from = end + 1;
      // A quote after an even number of backslashes is not escaped.
      if ((end - before) % 2 === 0) {
        this.#at = from;
        return;
      }
    }
  }

  /** Skips whitespace, and returns the next byte. */
  #peek(): number | undefined {
    while (isSpace(this.#bytes[this.#at])) this.#at++;
    return this.#bytes[this.#at];
  }

  #take(byte: number): void {
    if (this.#peek() !== byte) throw this.#fault();
    this.#at++;
  }

  #fault(): SyntaxError {
    return new SyntaxError(`malformed JSON at byte ${this.#at}`);
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isEnd(byte: number | undefined): boolean {
  return byte === COMMA || byte === COLON || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte);
}
