import { constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SinkConfig } from '#config/sinks.ts';
import { assertRegular, type Files } from '#files/files.ts';
import type { LaneRecord } from '../record.ts';
import { type Receipt, type Sink, Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
const MODE = 0o640;

/** Writes a JSON object a line. Puts a file aside when it is large or old; opens it anew when somebody else has done so. */
export class FileSink implements Sink {
  readonly name = 'file';
  readonly #config: SinkConfig<'file'>;
  readonly #files: Files;
  /** Milliseconds of a clock that nobody sets. */
  readonly #now: () => number;
  #file: FileHandle | undefined;
  #inode = 0;
  #size = 0;
  /** By `#now`. */
  #bornMs = 0;

  constructor(config: SinkConfig<'file'>, files: Files, now = () => performance.now()) {
    this.#config = config;
    this.#files = files;
    this.#now = now;
  }

  async write(records: readonly LaneRecord[], _receipt: Receipt, signal: AbortSignal): Promise<void> {
    const text = Buffer.from(records.map(({ json }) => `${json}\n`).join(''));
    try {
      await this.#step((late) => this.#write(text, AbortSignal.any([signal, late])));
    } catch (error) {
      throw new Unavailable(`sinks.file.path: ${messageOf(error)}`);
    }
  }

  async close(): Promise<void> {
    if (this.#file !== undefined) await this.#step(() => this.#close()).catch(() => undefined);
  }

  #step<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#files.run(this.#config.path, work, { alone: true });
  }

  async #write(text: Buffer, signal: AbortSignal): Promise<void> {
    try {
      await this.#prepare(text.length);
      signal.throwIfAborted();
      await this.#append(text, signal);
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    // What the disk could not take it says when the file is closed.
    await file?.close().catch(() => undefined);
  }

  async #append(text: Buffer, signal: AbortSignal): Promise<void> {
    const { size } = (await this.#file?.stat()) ?? { size: 0 };
    try {
      await this.#file?.appendFile(text);
      signal.throwIfAborted();
    } catch (error) {
      // A part may have found room, or all of it after nobody waited any more: the whole batch comes again.
      await this.#file?.truncate(size).catch(() => undefined);
      throw error;
    }
    this.#size = size + text.length;
  }

  /** Opens the file where it is not open, or not the one of that name any more. */
  async #prepare(bytes: number): Promise<void> {
    const { path, rotateBytes, rotateAge } = this.#config;
    if (this.#file !== undefined && (await inodeOf(path)) !== this.#inode) await this.#close();
    if (this.#file === undefined) await this.#open();
    const isLarge = this.#size > 0 && this.#size + bytes > rotateBytes;
    const isOld = this.#size > 0 && this.#now() - this.#bornMs > rotateAge;
    if (!isLarge && !isOld) return;
    await this.#close();
    await this.#rotate();
    await this.#open();
  }

  async #open(): Promise<void> {
    const { path } = this.#config;
    await mkdir(dirname(path), { recursive: true });
    const there = await stat(path).catch(() => undefined);
    // Before it is opened: a device may do something when it is, and a pipe wait for somebody who reads.
    if (there !== undefined) assertRegular(path, there);
    this.#file = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, MODE);
    const stats = await this.#file.stat();
    assertRegular(path, stats);
    const { ino, size, birthtimeMs } = stats;
    this.#inode = ino;
    this.#size = size;
    // How old the file of an earlier run is only the wall clock can tell, once. One from a time to come is new.
    const ageMs = birthtimeMs > 0 ? Math.max(0, Date.now() - birthtimeMs) : 0;
    this.#bornMs = this.#now() - ageMs;
  }

  /** `path` becomes `path.1`, that `path.2`, and so on; the last one goes. */
  async #rotate(): Promise<void> {
    const { path, keep } = this.#config;
    if (keep === 0) {
      await rm(path, { force: true });
      return;
    }
    for (let number = keep; number > 1; number--) await renameIfThere(`${path}.${number - 1}`, `${path}.${number}`);
    await rename(path, `${path}.1`);
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
