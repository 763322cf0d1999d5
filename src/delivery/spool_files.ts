import type { Stats } from 'node:fs';
import { constants, type FileHandle, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assertRegular, type Files, replaceFile } from '#files/files.ts';
import { FolderLock } from '#files/lock.ts';
import { type Line, splitLines } from './spool_lines.ts';

/** File number and byte offset at which reading continues. */
export interface Position {
  readonly id: number;
  readonly offset: number;
}

/** Position before anything was delivered. */
const START: Position = { id: 0, offset: 0 };

const NAME = /^(\d{10,15})\.jsonl$/;
/** Maximum file number. Numbers count up from 1, so a file with a larger number was created by another program. */
const ID_MAX = 1e14;
const POSITION = 'position';
const POSITION_BYTES_MAX = 64;
const CHUNK_BYTES = 1024 * 1024;
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Flags that reject symbolic links, which may point outside the directory, and prevent blocking on pipes. */
const SAFE = O_NOFOLLOW | O_NONBLOCK;

/** Thrown if a file does not have the expected type or length because another program has changed it. */
export class NotOurs extends Error {
  override readonly name = 'NotOurs';
}

/**
 * The files of a spool: numbered files of JSON lines, and a file with the position up to which records have been
 * delivered. They survive a crash of the process but not of the machine, because they are not synced. The directory is
 * locked while in use.
 */
export class SpoolFiles {
  readonly directory: string;
  readonly #files: Files;
  #lock: FolderLock | undefined;

  constructor(directory: string, files: Files) {
    this.directory = directory;
    this.#files = files;
  }

  /**
   * Locks the directory, and creates it if necessary.
   * @returns true if the directory was not locked before, or has been replaced since
   * @throws if another sink or agent has locked it
   */
  claim(): Promise<boolean> {
    return this.#step(async () => {
      if ((await this.#lock?.holds()) === true) return false;
      await this.#lock?.release();
      this.#lock = undefined;
      await mkdir(this.directory, { recursive: true, mode: FOLDER_MODE });
      this.#lock = await FolderLock.take(this.directory);
      if (this.#lock === undefined) {
        throw new Error(
          `${this.directory} is the spool of another sink or agent that is running; give each its own directory`,
        );
      }
      return true;
    });
  }

  async release(): Promise<void> {
    await this.#step(async () => {
      await this.#lock?.release();
      this.#lock = undefined;
    });
  }

  /** Returns the numbers of the existing files in ascending order, and where reading continues. */
  list(): Promise<{ ids: number[]; position: Position }> {
    return this.#step(async () => {
      const names = await readdir(this.directory);
      const ids = names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
      const known = ids.filter((id) => id <= ID_MAX && names.includes(nameOf(id))).sort((a, b) => a - b);
      return { ids: known, position: await this.#position() };
    });
  }

  /** Creates a file. @throws EEXIST if it exists */
  async create(id: number): Promise<void> {
    await this.#step(async () => {
      await using _file = await open(this.#path(id), O_WRONLY | O_CREAT | O_EXCL | SAFE, FILE_MODE);
    });
  }

  /**
   * Appends to a file.
   * @param from expected length of the file
   * @throws {NotOurs} if the length differs or the file is not regular; nothing is written then
   */
  async append(id: number, text: Uint8Array, from: number): Promise<void> {
    await this.#step(async (signal) => {
      await using file = await open(this.#path(id), O_WRONLY | SAFE).catch((error: NodeJS.ErrnoException) => {
        throw ['ENOENT', 'ELOOP', 'ENXIO'].includes(error.code ?? '') ? new NotOurs(error.message) : error;
      });
      const stats = await file.stat();
      if (!isOurs(stats) || stats.size !== from) throw new NotOurs(`${this.#path(id)} was changed by another program`);
      try {
        for (let at = 0; at < text.length; )
          at += (await file.write(text, at, text.length - at, from + at)).bytesWritten;
        signal.throwIfAborted();
      } catch (error) {
        // The records will be written again, so any part of them that was written has to be removed.
        await file.truncate(from).catch(() => undefined);
        throw error;
      }
    });
  }

  /**
   * Reads about `bytes` bytes of lines between `offset` and `end`, but at least one line.
   * @throws if there is no line
   */
  async read(id: number, offset: number, end: number, bytes: number): Promise<Line[]> {
    for (let room = bytes; ; room *= 2) {
      const length = Math.min(room, end - offset);
      const read = await this.#chunk(id, offset, length);
      if (read.length === 0) throw new Error(`${this.#path(id)} is truncated: it ends before byte ${offset}`);
      // The last line has no line break if another program changed that byte or truncated the file.
      const { lines } = splitLines(read, room >= end - offset || read.length < length);
      if (lines.length > 0) return lines;
    }
  }

  /**
   * Calls `take` for every line from `offset` onward, within `bytesMax` bytes. Returns the offset of the end of the
   * last complete line, or 0 if `offset` is not the start of a line.
   */
  async scan(id: number, offset: number, bytesMax: number, take: (line: Line) => void): Promise<number> {
    if (offset > 0 && (await this.#chunk(id, offset - 1, 1)).toString('latin1') !== '\n') return 0;
    let end = offset;
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      const at = end + rest.length;
      const room = Math.min(CHUNK_BYTES, offset + bytesMax - at);
      const chunk = room > 0 ? await this.#chunk(id, at, room) : Buffer.alloc(0);
      if (chunk.length === 0) return end;
      const split = splitLines(Buffer.concat([rest, chunk]), false);
      for (const line of split.lines) {
        take(line);
        end += line.bytes;
      }
      rest = split.rest;
    }
  }

  /**
   * Truncates a file to remove the incomplete line that a killed process left.
   * @returns number of removed bytes
   * @throws if the file belongs to another program
   */
  cut(id: number, bytes: number): Promise<number> {
    return this.#step(async () => {
      await using file = await open(this.#path(id), O_RDWR | SAFE);
      const stats = await file.stat();
      if (!isOurs(stats)) throw new Error(`${this.#path(id)} is a link, or has a second hard link`);
      if (stats.size > bytes) await file.truncate(bytes);
      // Earlier versions created world-readable files.
      await file.chmod(FILE_MODE);
      return Math.max(0, stats.size - bytes);
    });
  }

  async remove(id: number): Promise<void> {
    await this.#step(() => rm(this.#path(id), { force: true }));
  }

  async savePosition({ id, offset }: Position): Promise<void> {
    await this.#step((signal) => replaceFile(join(this.directory, POSITION), `${id} ${offset}\n`, signal));
  }

  #step<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#files.run(this.directory, work, { alone: true });
  }

  #chunk(id: number, at: number, length: number): Promise<Buffer> {
    return this.#step(async () => {
      await using file: FileHandle = await open(this.#path(id), O_RDONLY | SAFE);
      assertRegular(this.#path(id), await file.stat());
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
      return buffer.subarray(0, bytesRead);
    });
  }

  /** Reads the position. A malformed position is ignored, so that records are delivered twice rather than lost. */
  async #position(): Promise<Position> {
    const path = join(this.directory, POSITION);
    try {
      await using file = await open(path, O_RDONLY | SAFE);
      const stats = await file.stat();
      if (!stats.isFile() || stats.size > POSITION_BYTES_MAX) return START;
      const [, id, offset] = /^(\d{1,15}) (\d{1,15})\n$/.exec(await readFile(file, 'latin1')) ?? [];
      return Number(id ?? 0) > ID_MAX ? START : { id: Number(id ?? 0), offset: Number(offset ?? 0) };
    } catch (error) {
      if (!['ENOENT', 'ELOOP', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return START;
    }
  }

  #path(id: number): string {
    return join(this.directory, nameOf(id));
  }
}

function nameOf(id: number): string {
  return `${String(id).padStart(10, '0')}.jsonl`;
}

/**
 * Whether a file is regular and has a single hard link. Truncation would also affect the file under its other names.
 */
function isOurs(stats: Stats): boolean {
  return stats.isFile() && stats.nlink === 1;
}
