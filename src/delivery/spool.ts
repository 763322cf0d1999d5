import type { EventRecord } from '#api/events.ts';
import type { DropReason } from '#api/words.ts';
import type { EventLine } from '#events/event_line.ts';
import { type BatchLimits, type EventBuffer, sumBytes } from './buffer.ts';
import { SpoolFiles } from './spool_files.ts';

/** The oldest file is what gives way when the disk is full: the smaller the files, the less goes at once. */
const FILES = 16;
const APPEND_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 1_000;
/** For lines that say no more whose they are. */
const UNKNOWN_PROBE = 'unknown';

export interface SpoolOptions {
  readonly directory: string;
  /** Bytes on the disk. */
  readonly size: number;
  /** What may wait in memory for the disk. */
  readonly memory: BatchLimits;
  readonly dropped: (probe: string, reason: DropReason, count: number) => void;
  /** Told how many events an earlier run left behind. */
  readonly recovered: (probe: string, count: number) => void;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

interface Segment {
  readonly id: number;
  /** End of its last whole line. */
  bytes: number;
  /** Where it is read next. */
  offset: number;
  /** Lines from there on, by probe. */
  readonly unread: Map<string, number>;
}

/**
 * Keeps events in files until they are delivered, also over the end of the process. Every event passes through them: a
 * process that is killed loses what came in its last moment only. Where the disk does not take them, they wait in memory.
 */
export class Spool implements EventBuffer {
  readonly #options: SpoolOptions;
  readonly #files: SpoolFiles;
  /** The last one is written to. */
  #segments: Segment[] = [];
  #nextId = 1;
  #waiting: EventLine[] = [];
  #waitingBytes = 0;
  #appending: Promise<void> | undefined;
  #taken: { readonly events: readonly EventLine[]; readonly from: Segment | undefined } | undefined;
  /** Taken from `from` before and not delivered. */
  #left: readonly EventLine[] = [];
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

  /** Why the disk does not take events; empty where it does. */
  get failure(): string {
    return this.#failure;
  }

  push(events: readonly EventLine[]): void {
    for (const event of events) {
      this.#waiting.push(event);
      this.#waitingBytes += event.bytes;
      this.#length++;
      this.#bytes += event.bytes;
    }
    const { events: eventsMax, bytes: bytesMax } = this.#options.memory;
    let excess = 0;
    for (; this.#waiting.length - excess > eventsMax || this.#waitingBytes > bytesMax; excess++) {
      this.#waitingBytes -= this.#waiting[excess]?.bytes ?? 0;
    }
    if (excess > 0) this.#forget(this.#waiting.splice(0, excess), 'queue_full');
    if (this.#failure === '') this.#startAppending();
  }

  async take({ events: eventsMax, bytes: bytesMax }: BatchLimits): Promise<readonly EventLine[]> {
    if (this.#left.length > 0) {
      const events = this.#left;
      this.#left = [];
      this.#taken = { events, from: this.#from };
      return events;
    }
    for (;;) {
      await this.#appending;
      const segment = this.#segments.find(({ offset, bytes }) => offset < bytes);
      if (segment === undefined && this.#appending !== undefined) continue;
      if (segment === undefined) break;
      const events = await this.#read(segment, eventsMax, bytesMax);
      if (events.length === 0) continue;
      this.#taken = { events, from: segment };
      return events;
    }
    const events = this.#waiting.splice(0, eventsMax);
    this.#waitingBytes -= sumBytes(events);
    this.#taken = { events, from: undefined };
    return events;
  }

  settle(left: readonly EventLine[]): void {
    if (this.#taken === undefined) return;
    const { events, from } = this.#taken;
    this.#taken = undefined;
    this.#length -= events.length - left.length;
    this.#bytes -= sumBytes(events) - sumBytes(left);
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
  async drain(): Promise<readonly EventLine[]> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#appending;
    if (this.#taken !== undefined) this.settle(this.#taken.events);
    const events = this.#waiting;
    this.#waiting = [];
    for (const { record } of this.#left) this.#options.dropped(record.probe, 'left_in_spool', 1);
    for (const { unread } of this.#segments) {
      for (const [probe, count] of unread) this.#options.dropped(probe, 'left_in_spool', count);
    }
    await this.#saving;
    return events;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    if (this.#taken !== undefined) this.settle(this.#taken.events);
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
      const unread = new Map<string, number>();
      const start = id === position.id ? position.offset : 0;
      const bytes = await this.#files.scan(id, start, (line) => {
        const probe = probeOf(line);
        unread.set(probe, (unread.get(probe) ?? 0) + 1);
      });
      await this.#files.cut(id, bytes);
      segments.push({ id, bytes, offset: Math.min(start, bytes), unread });
    }
    for (const { bytes, offset, unread } of segments) {
      this.#bytes += bytes - offset;
      for (const [probe, count] of unread) {
        this.#length += count;
        this.#options.recovered(probe, count);
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
      const events = this.#cutWaiting();
      const text = Buffer.from(events.map(({ json }) => `${json}\n`).join(''));
      this.#makeRoom(text.length);
      const segment = this.#segmentFor(text.length);
      try {
        await this.#files.append(segment.id, text, segment.bytes);
      } catch (error) {
        this.#waiting.unshift(...events);
        this.#waitingBytes += sumBytes(events);
        this.#fail(error as Error);
        return;
      }
      if (!this.#segments.includes(segment)) {
        // The file was found to be damaged meanwhile, and is gone.
        this.#forget(events, 'spool_damaged');
        continue;
      }
      segment.bytes += text.length;
      // On the disk each has its line end.
      this.#bytes += events.length;
      for (const { record } of events) segment.unread.set(record.probe, (segment.unread.get(record.probe) ?? 0) + 1);
    }
  }

  #cutWaiting(): EventLine[] {
    let end = 0;
    for (let bytes = 0; end < this.#waiting.length && bytes < APPEND_BYTES_MAX; end++) {
      bytes += this.#waiting[end]?.bytes ?? 0;
    }
    const events = this.#waiting.splice(0, end);
    this.#waitingBytes -= sumBytes(events);
    return events;
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
    const segment = { id: this.#nextId++, bytes: 0, offset: 0, unread: new Map<string, number>() };
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
    for (const [probe, count] of segment.unread) {
      this.#length -= count;
      this.#options.dropped(probe, reason, count);
    }
    segment.unread.clear();
    this.#bytes -= segment.bytes - segment.offset;
    segment.offset = segment.bytes;
    void this.#files.remove(segment.id).catch((error: Error) => this.#options.log('warn', error.message));
  }

  #forget(events: readonly EventLine[], reason: DropReason): void {
    for (const { record } of events) this.#options.dropped(record.probe, reason, 1);
    this.#length -= events.length;
    this.#bytes -= sumBytes(events);
  }

  async #read(segment: Segment, eventsMax: number, bytesMax: number): Promise<EventLine[]> {
    let texts: string[];
    try {
      texts = (await this.#files.read(segment.id, segment.offset, segment.bytes, bytesMax)).slice(0, eventsMax);
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
  #parse(segment: Segment, text: string): EventLine[] {
    const bytes = Buffer.byteLength(text);
    const probe = probeOf(text);
    segment.offset += bytes + 1;
    segment.unread.set(probe, Math.max(0, (segment.unread.get(probe) ?? 0) - 1));
    this.#bytes--;
    try {
      return [{ record: JSON.parse(text) as EventRecord, json: text, bytes }];
    } catch {
      this.#length--;
      this.#bytes -= bytes;
      this.#options.dropped(probe, 'spool_damaged', 1);
      return [];
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

function probeOf(line: string): string {
  return /"probe":"([a-z0-9_]{1,64})"/.exec(line)?.[1] ?? UNKNOWN_PROBE;
}
