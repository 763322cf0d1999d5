import { constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SinkConfig } from '#config/sinks.ts';
import { assertRegular, type Files } from '#files/files.ts';
import type { LaneRecord } from '../record.ts';
import { type Receipt, type Sink, Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
const MODE = 0o640;

/** Writes JSON lines to a file. Rotates the file by size and age, and reopens it if another program has rotated it. */
export class FileSink implements Sink {
  readonly name = 'file';
  readonly #config: SinkConfig<'file'>;
  readonly #files: Files;
  /** Returns milliseconds of a monotonic clock. */
  readonly #now: () => number;
  #file: FileHandle | undefined;
  #inode = 0;
  #size = 0;
  /** Creation time of the file, on the clock of `#now`. */
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
    // close(2) may report the error of an earlier write.
    await file?.close().catch(() => undefined);
  }

  async #append(text: Buffer, signal: AbortSignal): Promise<void> {
    const { size } = (await this.#file?.stat()) ?? { size: 0 };
    try {
      await this.#file?.appendFile(text);
      signal.throwIfAborted();
    } catch (error) {
      // The batch will be written again, so any part of it that was written has to be removed.
      await this.#file?.truncate(size).catch(() => undefined);
      throw error;
    }
    this.#size = size + text.length;
  }

  /** Opens the file if it is not open or if another file is now at its path. Rotates it if necessary. */
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
    // Checked before open(2), which can have side effects on a device and can block on a pipe.
    if (there !== undefined) assertRegular(path, there);
    this.#file = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, MODE);
    const stats = await this.#file.stat();
    assertRegular(path, stats);
    const { ino, size, birthtimeMs } = stats;
    this.#inode = ino;
    this.#size = size;
    // The age of a file from an earlier run is known only from the wall clock, which is read once here. A creation time
    // in the future counts as now.
    const ageMs = birthtimeMs > 0 ? Math.max(0, Date.now() - birthtimeMs) : 0;
    this.#bornMs = this.#now() - ageMs;
  }

  /** Renames `path` to `path.1`, `path.1` to `path.2`, and so on. The oldest file is overwritten. */
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
