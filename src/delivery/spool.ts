import type { DropReason } from '#api/words.ts';
import { type BatchLimits, type RecordBuffer, sumBytes } from './buffer.ts';
import { Counts } from './counts.ts';
import type { LaneRecord, Source, StoredKind } from './record.ts';
import { SpoolFiles } from './spool_files.ts';
import { SpoolLines, sourceOf } from './spool_lines.ts';

/** The oldest file is what gives way when the disk is full: the smaller the files, the less goes at once. */
const FILES = 16;
const APPEND_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 1_000;

export interface SpoolOptions {
  readonly directory: string;
  /** Bytes on the disk. */
  readonly size: number;
  /** What may wait in memory for the disk. */
  readonly memory: BatchLimits;
  /** Every kind that there is. */
  readonly kinds: readonly StoredKind[];
  readonly dropped: (source: Source, reason: DropReason, count: number) => void;
  /** Told how many records an earlier run left behind. */
  readonly recovered: (source: Source, count: number) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

interface Segment {
  readonly id: number;
  /** End of its last whole line. */
  bytes: number;
  /** Where it is read next. */
  offset: number;
  /** Lines from there on. */
  readonly unread: Counts<{ lines: number }>;
}

/**
 * Keeps records in files until they are delivered, also over the end of the process. Every record passes through them: a
 * process that is killed loses what came in its last moment only. Where the disk does not take them, they wait in memory.
 */
export class Spool implements RecordBuffer {
  readonly #options: SpoolOptions;
  readonly #files: SpoolFiles;
  readonly #lines: SpoolLines;
  /** The last one is written to. */
  #segments: Segment[] = [];
  #nextId = 1;
  #waiting: LaneRecord[] = [];
  #waitingBytes = 0;
  #appending: Promise<void> | undefined;
  #taken: { readonly records: readonly LaneRecord[]; readonly from: Segment | undefined } | undefined;
  /** Taken from `from` before and not delivered. */
  #left: readonly LaneRecord[] = [];
  #from: Segment | undefined;
  #length = 0;
  #bytes = 0;
  #isRecovered = false;
  #closed = false;
  #failure = '';
  #retry: NodeJS.Timeout | undefined;
  #saving: Promise<void> | undefined;

  private constructor(options: SpoolOptions) {
    this.#options = options;
    this.#files = new SpoolFiles(options.directory);
    this.#lines = new SpoolLines(options.kinds);
  }

  /** Resolves once it is known what an earlier run left behind, or why that cannot be read. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const spool = new Spool(options);
    spool.#startAppending();
    await spool.#appending;
    return spool;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Why the disk does not take records; empty where it does. */
  get failure(): string {
    return this.#failure;
  }

  push(records: readonly LaneRecord[]): void {
    for (const record of records) {
      this.#waiting.push(record);
      this.#waitingBytes += record.bytes;
      this.#length++;
      this.#bytes += record.bytes;
    }
    const { records: recordsMax, bytes: bytesMax } = this.#options.memory;
    let excess = 0;
    for (; this.#waiting.length - excess > recordsMax || this.#waitingBytes > bytesMax; excess++) {
      this.#waitingBytes -= this.#waiting[excess]?.bytes ?? 0;
    }
    if (excess > 0) this.#forget(this.#waiting.splice(0, excess), 'queue_full');
    if (this.#failure === '') this.#startAppending();
  }

  async take({ records: recordsMax, bytes: bytesMax }: BatchLimits): Promise<readonly LaneRecord[]> {
    if (this.#left.length > 0) {
      const records = this.#left;
      this.#left = [];
      this.#taken = { records, from: this.#from };
      return records;
    }
    for (;;) {
      await this.#appending;
      const segment = this.#segments.find(({ offset, bytes }) => offset < bytes);
      if (segment === undefined && this.#appending !== undefined) continue;
      if (segment === undefined) break;
      const records = await this.#read(segment, recordsMax, bytesMax);
      if (records.length === 0) continue;
      this.#taken = { records, from: segment };
      return records;
    }
    const records = this.#waiting.splice(0, recordsMax);
    this.#waitingBytes -= sumBytes(records);
    this.#taken = { records, from: undefined };
    return records;
  }

  settle(left: readonly LaneRecord[]): void {
    if (this.#taken === undefined) return;
    const { records, from } = this.#taken;
    this.#taken = undefined;
    this.#length -= records.length - left.length;
    this.#bytes -= sumBytes(records) - sumBytes(left);
    if (from === undefined) {
      this.#waiting.unshift(...left);
      this.#waitingBytes += sumBytes(left);
      return;
    }
    this.#left = left;
    this.#from = from;
    if (left.length === 0) this.#advance();
  }

  /** Takes out what is in memory; what is in the files stays there, for a later run, and is no longer ours. */
  async drain(): Promise<readonly LaneRecord[]> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#appending;
    if (this.#taken !== undefined) this.settle(this.#taken.records);
    const records = this.#waiting;
    this.#waiting = [];
    for (const record of this.#left) this.#options.dropped(record, 'left_in_spool', 1);
    for (const { unread } of this.#segments) {
      for (const [source, { lines }] of unread) this.#options.dropped(source, 'left_in_spool', lines);
    }
    await this.#saving;
    return records;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    if (this.#taken !== undefined) this.settle(this.#taken.records);
    await this.#appending;
    if (this.#waiting.length > 0) {
      this.#startAppending();
      await this.#appending;
    }
    this.#forget(this.#waiting.splice(0), 'shutdown');
    await this.#saving;
  }

  async #recover(): Promise<void> {
    const { ids, position } = await this.#files.list();
    const segments: Segment[] = [];
    for (const id of ids) {
      if (id < position.id) {
        await this.#files.remove(id);
        continue;
      }
      const unread = newCounts();
      const start = id === position.id ? position.offset : 0;
      const bytes = await this.#files.scan(id, start, (line) => {
        unread.of(sourceOf(line)).lines++;
      });
      await this.#files.cut(id, bytes);
      segments.push({ id, bytes, offset: Math.min(start, bytes), unread });
    }
    for (const { bytes, offset, unread } of segments) {
      this.#bytes += bytes - offset;
      for (const [source, { lines }] of unread) {
        this.#length += lines;
        this.#options.recovered(source, lines);
      }
    }
    this.#segments = segments;
    this.#isRecovered = true;
    this.#nextId = Math.max(position.id, ids.at(-1) ?? 0) + 1;
    this.#makeRoom(0);
  }

  #startAppending(): void {
    this.#appending ??= this.#append().finally(() => {
      this.#appending = undefined;
    });
  }

  async #append(): Promise<void> {
    try {
      if (!this.#isRecovered) await this.#recover();
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#failure = '';
    while (this.#waiting.length > 0) {
      const records = this.#cutWaiting();
      const text = Buffer.from(records.map((record) => `${this.#lines.format(record)}\n`).join(''));
      this.#makeRoom(text.length);
      const segment = this.#segmentFor(text.length);
      try {
        await this.#files.append(segment.id, text, segment.bytes);
      } catch (error) {
        this.#waiting.unshift(...records);
        this.#waitingBytes += sumBytes(records);
        this.#fail(error as Error);
        return;
      }
      if (!this.#segments.includes(segment)) {
        // The file was found to be damaged meanwhile, and is gone.
        this.#forget(records, 'spool_damaged');
        continue;
      }
      segment.bytes += text.length;
      // On the disk each has its header and its line end.
      this.#bytes += text.length - sumBytes(records);
      for (const record of records) segment.unread.of(record).lines++;
    }
  }

  #cutWaiting(): LaneRecord[] {
    let end = 0;
    for (let bytes = 0; end < this.#waiting.length && bytes < APPEND_BYTES_MAX; end++) {
      bytes += this.#waiting[end]?.bytes ?? 0;
    }
    const records = this.#waiting.splice(0, end);
    this.#waitingBytes -= sumBytes(records);
    return records;
  }

  #fail(error: Error): void {
    if (error.message !== this.#failure) this.#options.log('error', `the spool is not written: ${error.message}`);
    this.#failure = error.message;
    clearTimeout(this.#retry);
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.#startAppending(), RETRY_MS);
    this.#retry.unref();
  }

  #segmentFor(bytes: number): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined && last.bytes + bytes <= this.#options.size / FILES) return last;
    const segment = { id: this.#nextId++, bytes: 0, offset: 0, unread: newCounts() };
    this.#segments.push(segment);
    return segment;
  }

  /** Drops the oldest files until so many bytes more find room. What is being delivered of them is not dropped. */
  #makeRoom(bytes: number): void {
    let total = this.#segments.reduce((sum, segment) => sum + segment.bytes, bytes);
    while (total > this.#options.size && this.#segments.length > 0) {
      const [oldest] = this.#segments.splice(0, 1) as [Segment];
      total -= oldest.bytes;
      this.#forgetSegment(oldest, 'spool_full');
      this.#save();
    }
  }

  #forgetSegment(segment: Segment, reason: DropReason): void {
    for (const [source, { lines }] of segment.unread) {
      this.#length -= lines;
      this.#options.dropped(source, reason, lines);
    }
    segment.unread.clear();
    this.#bytes -= segment.bytes - segment.offset;
    segment.offset = segment.bytes;
    void this.#files.remove(segment.id).catch((error: Error) => this.#options.log('warn', error.message));
  }

  #forget(records: readonly LaneRecord[], reason: DropReason): void {
    for (const record of records) this.#options.dropped(record, reason, 1);
    this.#length -= records.length;
    this.#bytes -= sumBytes(records);
  }

  async #read(segment: Segment, recordsMax: number, bytesMax: number): Promise<LaneRecord[]> {
    let texts: string[];
    try {
      texts = (await this.#files.read(segment.id, segment.offset, segment.bytes, bytesMax)).slice(0, recordsMax);
    } catch (error) {
      this.#options.log('error', `a part of the spool is lost: ${(error as Error).message}`);
      this.#segments = this.#segments.filter((other) => other !== segment);
      this.#forgetSegment(segment, 'spool_damaged');
      return [];
    }
    // It may have given way while it was read.
    if (!this.#segments.includes(segment)) return [];
    return texts.flatMap((text) => this.#parse(segment, text));
  }

  /** A damaged line is dropped alone. */
  #parse(segment: Segment, line: string): LaneRecord[] {
    const bytes = Buffer.byteLength(line) + 1;
    const source = sourceOf(line);
    const unread = segment.unread.of(source);
    unread.lines = Math.max(0, unread.lines - 1);
    segment.offset += bytes;
    this.#bytes -= bytes;
    const record = this.#restore(line, source);
    if (record === undefined) {
      this.#length--;
      return [];
    }
    this.#bytes += record.bytes;
    return [record];
  }

  #restore(line: string, source: Source): LaneRecord | undefined {
    try {
      const record = this.#lines.parse(line);
      if (record === undefined) this.#options.dropped(source, 'unknown_kind', 1);
      return record;
    } catch {
      this.#options.dropped(source, 'spool_damaged', 1);
      return undefined;
    }
  }

  /** All that was read is delivered. */
  #advance(): void {
    const last = this.#segments.at(-1);
    const done = this.#segments.filter(
      ({ offset, bytes }, index) => offset === bytes && this.#segments[index] !== last,
    );
    this.#segments = this.#segments.filter((segment) => !done.includes(segment));
    for (const { id } of done) {
      void this.#files.remove(id).catch((error: Error) => this.#options.log('warn', error.message));
    }
    this.#save();
  }

  /** Without it, what was delivered is delivered once more by the next run. */
  #save(): void {
    const head = this.#segments[0];
    const position = head === undefined ? { id: this.#nextId, offset: 0 } : { id: head.id, offset: head.offset };
    const saved = (this.#saving ?? Promise.resolve())
      .then(() => this.#files.savePosition(position))
      .catch((error: Error) => this.#options.log('warn', `the position in the spool is not written: ${error.message}`));
    this.#saving = saved;
  }
}

function newCounts(): Segment['unread'] {
  return new Counts(() => ({ lines: 0 }));
}
