import { parsePruned, type Shape } from './json_prune.ts';

/**
 * Maximum size of an object in bytes. etcd accepts objects of up to 1.5 MiB, whose size can double if they contain
 * quoted JSON.
 */
const OBJECT_BYTES_MAX = 8 * 1024 * 1024;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Collects the bytes of an object that spans several chunks. */
class Pieces {
  #pieces: Buffer[] = [];
  #bytes = 0;

  add(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > OBJECT_BYTES_MAX) throw new Error(`an object of more than ${OBJECT_BYTES_MAX} bytes`);
    if (piece.length > 0) this.#pieces.push(piece);
  }

  /** Returns the bytes that were added since the last `take`. */
  peek(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  take(): Buffer {
    const bytes = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    return bytes ?? Buffer.alloc(0);
  }
}

/**
 * Yields the objects of a stream with one JSON object per line.
 * @param shape parts of each object to keep
 * @throws if a line is too long, or is not an object
 */
export async function* jsonLines(body: AsyncIterable<Buffer>, shape: Shape = true): AsyncGenerator<unknown> {
  const pieces = new Pieces();
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      pieces.add(chunk.subarray(start, end));
      start = end + 1;
      const line = pieces.take();
      if (!isBlank(line)) yield parsePruned(line, shape);
    }
    pieces.add(chunk.subarray(start));
  }
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === SPACE || byte === CARRIAGE_RETURN);
}

/** Metadata of a Kubernetes list. */
export interface ListMetadata {
  readonly resourceVersion: string;
  /** Token for the next page; empty for the last one. */
  readonly continue: string;
  /** Number of objects on later pages; undefined if the server does not report it. */
  readonly remaining: number | undefined;
}

export interface ListForm {
  /** Key of the array of items. */
  readonly key: 'items' | 'rows';
  /** Parts of each item to keep. */
  readonly shape: Shape;
  /** Called before the first item, with the part of the list that precedes the items. */
  readonly begin?: (head: unknown) => void;
}

/**
 * Reads a Kubernetes list, `{…,"metadata":{…},"items":[{…},{…}]}`. Parses one item at a time, so that a large list is
 * never in memory as a whole. Returns the metadata of the list.
 * @param item called for each item; may throw to stop
 * @throws if the body is not such a list, or is truncated
 */
export async function readList(
  body: AsyncIterable<Buffer>,
  item: (object: unknown) => void,
  form: ListForm = { key: 'items', shape: true },
): Promise<ListMetadata> {
  const scanner = new ListScanner(
    form.key,
    (bytes) => item(parsePruned(bytes, form.shape)),
    (head) => form.begin?.(JSON.parse(`${head}]}`)),
  );
  for await (const chunk of body) scanner.push(chunk);
  const { metadata } = JSON.parse(scanner.finish()) as {
    metadata?: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  };
  if (metadata?.resourceVersion === undefined) throw new Error('a list without metadata.resourceVersion');
  const { resourceVersion, continue: next = '', remainingItemCount: remaining } = metadata;
  return { resourceVersion, continue: next, remaining };
}

/** Nesting depth inside the list object, and inside its `items` array. */
const IN_LIST = 1;
const IN_ITEMS = 2;
/** Maximum length in bytes of the key of the items, including whitespace, up to the opening bracket. */
const TAIL_LENGTH = 64;

/** Splits a list into its items by counting brackets and braces outside of strings. */
class ListScanner {
  readonly #item: (bytes: Buffer) => void;
  readonly #begin: (head: string) => void;
  /** Matches the key of the items at the end of the text before the opening bracket. */
  readonly #key: RegExp;
  /** The list without its items. */
  readonly #frame = new Pieces();
  readonly #object = new Pieces();
  /** Last bytes of the frame, in which the start of the items is recognized. */
  #tail = '';
  /** Position in the current chunk from which bytes have not been consumed. */
  #start = 0;
  #depth = 0;
  #inItems = false;
  #inString = false;
  #isEscaped = false;

  constructor(key: ListForm['key'], item: (bytes: Buffer) => void, begin: (head: string) => void) {
    this.#key = new RegExp(`"${key}"\\s*:\\s*$`);
    this.#item = item;
    this.#begin = begin;
  }

  push(chunk: Buffer): void {
    this.#start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) this.#string(byte);
      else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#opened(chunk, at);
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#closed(chunk, at);
    }
    const rest = chunk.subarray(this.#start);
    if (!this.#inItems) this.#toFrame(rest);
    else if (this.#depth > IN_ITEMS) this.#object.add(rest);
  }

  finish(): string {
    return this.#frame.take().toString();
  }

  #string(byte: number | undefined): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#inString = false;
  }

  #opened(chunk: Buffer, at: number): void {
    if (this.#inItems) {
      // Skips the comma and whitespace before the item.
      if (this.#depth === IN_ITEMS) this.#start = at;
    } else if (this.#depth === IN_LIST && chunk[at] === OPEN_BRACKET && this.#isItems(chunk, at)) {
      this.#toFrame(chunk.subarray(this.#start, at + 1));
      this.#begin(this.#frame.peek().toString());
      this.#inItems = true;
      this.#start = at + 1;
    }
    this.#depth++;
  }

  #closed(chunk: Buffer, at: number): void {
    this.#depth--;
    if (!this.#inItems) return;
    if (this.#depth === IN_ITEMS) {
      this.#object.add(chunk.subarray(this.#start, at + 1));
      this.#item(this.#object.take());
      this.#start = at + 1;
    } else if (this.#depth === IN_LIST) {
      this.#inItems = false;
      this.#start = at;
    }
  }

  #isItems(chunk: Buffer, at: number): boolean {
    return this.#key.test(this.#tail + chunk.toString('utf8', Math.max(this.#start, at - TAIL_LENGTH), at));
  }

  #toFrame(bytes: Buffer): void {
    this.#frame.add(bytes);
    this.#tail = (this.#tail + bytes.toString('utf8', Math.max(0, bytes.length - TAIL_LENGTH))).slice(-TAIL_LENGTH);
  }
}
