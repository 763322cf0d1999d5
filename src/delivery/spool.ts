import { setImmediate as turn } from 'node:timers/promises';
import type { DropReason } from '#api/words.ts';
import { withDeadline } from '#core/deadline.ts';
import type { Files } from '#files/files.ts';
import { FileSystemHangs } from '#files/gate.ts';
import { type BatchLimits, type RecordBuffer, sumBytes } from './buffer.ts';
import type { LaneRecord, Source, StoredKind } from './record.ts';
import { NotOurs, type Position, SpoolFiles } from './spool_files.ts';
import { type Line, NOBODY, SpoolLines, sourceOf } from './spool_lines.ts';
import { SpoolProgress } from './spool_progress.ts';
import { recover } from './spool_recovery.ts';
import { KnownSources, Segment } from './spool_segments.ts';
import { WaitingRecords } from './waiting_records.ts';

/**
 * Number of files in a full spool. The oldest file is dropped to make space, so with more files, fewer records are lost
 * at once.
 */
const FILES = 16;
/** Maximum number of files. It exceeds {@link FILES}, because a file is closed early if another program changes it. */
const FILES_MAX = 4 * FILES;
const APPEND_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 1_000;
const CLOSE_MS = 1_000;
/** Maximum number of file numbers to try for a new file. */
const NUMBERS_MAX = 100;

export interface SpoolOptions {
  readonly directory: string;
  /** Maximum size on disk in bytes. */
  readonly size: number;
  /** Limits on the records that wait in memory to be written to disk. */
  readonly memory: BatchLimits;
  /** All record kinds. */
  readonly kinds: readonly StoredKind[];
  readonly files: Files;
  readonly dropped: (source: Source, reason: DropReason, count: number) => void;
  /** Called with the number of records that an earlier run left behind. */
  readonly recovered: (source: Source, count: number) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/**
 * Stores records in files until they are delivered, so that they survive a restart of the agent. Every record is
 * written to a file, so only the latest records are lost if the process is killed. While the disk fails, records wait
 * in memory.
 *
 * Files may be damaged at any time. Records that are missing from a file count as dropped. Lines that another program
 * added count as recovered when they are read.
 */
export class Spool implements RecordBuffer {
  readonly #options: SpoolOptions;
  readonly #files: SpoolFiles;
  readonly #lines: SpoolLines;
  readonly #progress: SpoolProgress;
  readonly #sources = new KnownSources(NOBODY);
  /** Files from oldest to newest. Records are appended to the last one. */
  #segments: Segment[] = [];
  #nextId = 1;
  readonly #waiting = new WaitingRecords();
  #appending: Promise<void> | undefined;
  /** Records that are being written to disk. */
  #written: readonly LaneRecord[] = [];
  #taken: { readonly records: readonly LaneRecord[]; readonly isOfFile: boolean } | undefined;
  /** Records that were taken from a file, but not delivered. */
  #left: readonly LaneRecord[] = [];
  #isRecovered = false;
  #closed = false;
  #failure = '';
  #failedWriting = false;
  /** Kind of the failure that was last logged. */
  #told = '';
  #retry: NodeJS.Timeout | undefined;

  private constructor(options: SpoolOptions) {
    this.#options = options;
    this.#files = new SpoolFiles(options.directory, options.files);
    this.#lines = new SpoolLines(options.kinds);
    const warn = (message: string) => options.log('warn', message);
    this.#progress = new SpoolProgress(this.#files, () => this.#position(), warn);
  }

  /** Resolves once the records of an earlier run have been counted, or could not be read. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const spool = new Spool(options);
    spool.#startAppending();
    await spool.#appending;
    return spool;
  }

  get length(): number {
    const inMemory =
      this.#waiting.length + this.#written.length + this.#left.length + (this.#taken?.records.length ?? 0);
    return this.#segments.reduce((sum, { lines }) => sum + lines, inMemory);
  }

  get bytes(): number {
    const taken = sumBytes(this.#taken?.records ?? []) + sumBytes(this.#left) + sumBytes(this.#written);
    return this.#segments.reduce((sum, { unreadBytes }) => sum + unreadBytes, taken + this.#waiting.bytes);
  }

  /** Reason why records cannot be written to disk. Empty if they can. */
  get failure(): string {
    return this.#failure;
  }

  push(records: readonly LaneRecord[]): void {
    this.#drop(this.#waiting.push(records, this.#options.memory), 'queue_full');
    if (this.#retry === undefined) this.#startAppending();
  }

  async take(limits: BatchLimits): Promise<readonly LaneRecord[]> {
    if (this.#left.length > 0) {
      const records = this.#left;
      this.#left = [];
      this.#taken = { records, isOfFile: true };
      return records;
    }
    for (;;) {
      await this.#appending;
      const segment = this.#segments.find(({ offset, bytes }) => offset < bytes);
      if (segment === undefined && this.#appending !== undefined) continue;
      if (segment === undefined) break;
      const lines = await this.#read(segment, limits.bytes);
      if (lines === undefined) break;
      const records = lines.slice(0, limits.records).flatMap((line) => this.#restore(segment, line));
      if (segment.offset === segment.bytes) this.#dropLines(segment.skip(), 'spool_damaged');
      if (records.length === 0) continue;
      this.#taken = { records, isOfFile: true };
      return records;
    }
    const records = this.#waiting.cut(limits);
    this.#taken = { records, isOfFile: false };
    // Without this pause, a caller that takes records in a loop would starve the event loop, and the disk operation
    // would never complete.
    if (records.length === 0) await turn();
    return records;
  }

  settle(left: readonly LaneRecord[]): void {
    if (this.#taken === undefined) return;
    const { isOfFile } = this.#taken;
    this.#taken = undefined;
    if (!isOfFile) {
      this.#waiting.putBack(left);
      return;
    }
    this.#left = left;
    if (left.length === 0) this.#advance();
  }

  /**
   * Removes and returns the records in memory. Records in files stay there for a later run, and are no longer counted
   * as pending.
   */
  async drain(): Promise<readonly LaneRecord[]> {
    await this.#finish();
    const records = this.#waiting.drain();
    this.#leave();
    return records;
  }

  async close(deadlineMs = CLOSE_MS): Promise<void> {
    // The outcome of a write that hangs is unknown, so its records count as lost.
    await withDeadline(this.#finish(), deadlineMs, 'late').catch(() => undefined);
    const lost = [...this.#written, ...this.#waiting.drain()];
    this.#written = [];
    this.#drop(lost, 'shutdown');
  }

  async #finish(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    if (this.#taken !== undefined) this.settle(this.#taken.records);
    await this.#appending;
    if (this.#waiting.length > 0 && this.#failure === '') {
      this.#startAppending();
      await this.#appending;
    }
    await this.#progress.saved;
    await this.#files.release().catch(() => undefined);
  }

  async #recover(): Promise<void> {
    const warn = (message: string) => this.#options.log('warn', message);
    const { segments, nextId } = await recover(this.#files, this.#sources, this.#options.size, warn);
    for (const segment of segments) {
      for (const [source, lines] of segment.remaining()) this.#options.recovered(source, lines);
    }
    this.#segments = segments;
    this.#isRecovered = true;
    this.#nextId = Math.max(this.#nextId, nextId);
    this.#makeRoom(0);
  }

  #startAppending(): void {
    this.#appending ??= this.#append().finally(() => {
      this.#appending = undefined;
    });
  }

  async #append(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    try {
      if (await this.#files.claim()) {
        this.#leave();
        this.#isRecovered = false;
      }
      if (!this.#isRecovered) await this.#recover();
      // Only the next write can show whether a full disk has space again.
      if (!this.#failedWriting) this.#succeed();
      while (this.#waiting.length > 0) {
        this.#failedWriting = true;
        await this.#write();
        this.#failedWriting = false;
        this.#succeed();
      }
    } catch (error) {
      // After a hang, a successful claim is enough to show that the disk works again, even if there is nothing to
      // write.
      if (error instanceof FileSystemHangs) this.#failedWriting = false;
      this.#fail(error as Error);
    }
  }

  /** Moves a batch from memory to disk. @throws if the disk fails; the records are then in memory again */
  async #write(): Promise<void> {
    const { size } = this.#options;
    const records = this.#waiting.cut({
      records: Number.POSITIVE_INFINITY,
      bytes: Math.min(APPEND_BYTES_MAX, size / FILES),
    });
    const text = Buffer.from(records.map((record) => `${this.#lines.format(record)}\n`).join(''));
    if (text.length > size) {
      this.#drop(records, 'spool_full');
      return;
    }
    this.#written = records;
    this.#makeRoom(text.length);
    let segment: Segment | undefined;
    try {
      segment = await this.#segmentFor(text.length);
      await this.#files.append(segment.id, text, segment.bytes);
    } catch (error) {
      if (this.#reclaimWritten()) this.#waiting.putBack(records);
      if (!(error instanceof NotOurs) || segment === undefined) throw error;
      segment.isSealed = true;
      // Another program changed the file right after it was created, so the next attempt is delayed.
      if (segment.bytes === 0) throw error;
      this.#options.log('warn', error.message);
      return;
    }
    if (!this.#reclaimWritten()) return;
    if (!this.#segments.includes(segment)) {
      // The file was found to be damaged during the write, and is being removed.
      this.#waiting.putBack(records);
      return;
    }
    segment.bytes += text.length;
    for (const record of records) segment.add(record);
  }

  /** Returns false if the spool was closed during the write. The records are then already counted as lost. */
  #reclaimWritten(): boolean {
    const isOurs = this.#written.length > 0;
    this.#written = [];
    return isOurs;
  }

  #succeed(): void {
    if (this.#failure !== '') this.#options.log('info', 'the spool can be written again');
    this.#failure = '';
    this.#told = '';
  }

  /** Logs a repeated failure only once, because writing to a full disk is retried every second. */
  #fail(error: NodeJS.ErrnoException): void {
    const { message, code: kind = message } = error;
    if (kind !== this.#told) this.#options.log('error', `cannot write the spool: ${message}`);
    this.#told = kind;
    this.#failure = message;
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.#startAppending(), RETRY_MS);
    this.#retry.unref();
  }

  async #segmentFor(bytes: number): Promise<Segment> {
    const last = this.#segments.at(-1);
    const hasRoom = last !== undefined && (last.bytes === 0 || last.bytes + bytes <= this.#options.size / FILES);
    if (last !== undefined && hasRoom && !last.isSealed) return last;
    for (let tries = 1; ; tries++) {
      const id = this.#nextId++;
      try {
        await this.#files.create(id);
        const segment = new Segment(id);
        this.#segments.push(segment);
        return segment;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries === NUMBERS_MAX) throw error;
      }
    }
  }

  /** Drops the oldest files until the given number of bytes fits. Keeps records that are being delivered. */
  #makeRoom(bytes: number): void {
    let total = this.#segments.reduce((sum, segment) => sum + segment.bytes, bytes);
    while ((total > this.#options.size || this.#segments.length > FILES_MAX) && this.#segments.length > 0) {
      const [oldest] = this.#segments.splice(0, 1) as [Segment];
      total -= oldest.bytes;
      this.#remove(oldest, 'spool_full');
    }
  }

  #remove(segment: Segment, reason: DropReason): void {
    this.#dropLines(segment.skip(), reason);
    this.#progress.save([segment.id]);
  }

  /** Counts all records in files as left behind in the spool. */
  #leave(): void {
    for (const segment of this.#segments) this.#dropLines(segment.skip(), 'left_in_spool');
    this.#drop(this.#left, 'left_in_spool');
    this.#left = [];
    this.#segments = [];
    this.#progress.forget();
  }

  #drop(records: readonly LaneRecord[], reason: DropReason): void {
    for (const record of records) this.#options.dropped(record, reason, 1);
  }

  #dropLines(lines: readonly [Source, number][], reason: DropReason): void {
    for (const [source, count] of lines) this.#options.dropped(source, reason, count);
  }

  /** Returns undefined if the file system hangs, so that the records in memory are delivered first. */
  async #read(segment: Segment, bytesMax: number): Promise<Line[] | undefined> {
    try {
      const lines = await this.#files.read(segment.id, segment.offset, segment.bytes, bytesMax);
      // The file may have been dropped during the read.
      return this.#segments.includes(segment) ? lines : [];
    } catch (error) {
      if (error instanceof FileSystemHangs) {
        if (this.#retry === undefined) this.#fail(error);
        return undefined;
      }
      if (!this.#segments.includes(segment)) return [];
      this.#options.log('error', `a part of the spool is lost: ${(error as Error).message}`);
      this.#segments = this.#segments.filter((other) => other !== segment);
      this.#remove(segment, 'spool_damaged');
      return [];
    }
  }

  /** Restores the record of a line. Drops only this line if it is damaged. */
  #restore(segment: Segment, line: Line): LaneRecord[] {
    const source = this.#sources.bound(sourceOf(line.text));
    if (!segment.pass(source, line.bytes)) this.#options.recovered(source, 1);
    try {
      const record = this.#lines.parse(line, source);
      if (record !== undefined) return [record];
      this.#options.dropped(source, 'unknown_kind', 1);
    } catch {
      this.#options.dropped(source, 'spool_damaged', 1);
    }
    return [];
  }

  /** Advances the stored position to the end of the records that were read, because all of them have been delivered. */
  #advance(): void {
    for (const segment of this.#segments) segment.settled = segment.offset;
    const last = this.#segments.at(-1);
    const done = this.#segments.filter((segment) => segment.offset === segment.bytes && segment !== last);
    this.#segments = this.#segments.filter((segment) => !done.includes(segment));
    this.#progress.save(done.map(({ id }) => id));
  }

  #position(): Position {
    const head = this.#segments[0];
    return head === undefined ? { id: this.#nextId, offset: 0 } : { id: head.id, offset: head.settled };
  }
}
