import type { Stats } from 'node:fs';
import { constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { FileGate } from './gate.ts';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
const CHUNK_BYTES = 64 * 1024;
/** Only our user may read the files that are kept. */
const MODE = 0o600;
const FOLDER_MODE = 0o700;

/** Reads and writes files that users name: only regular ones, in bounded time. */
export class Files extends FileGate {
  /**
   * Reads a limited number of bytes of a regular file.
   * @throws an error that names the file and its fault
   */
  read(path: string, bytesMax: number): Promise<Buffer> {
    return this.run(path, async (signal) => {
      // Checked before it is opened: opening a device may have an effect, and opening a pipe may wait for another process.
      assertRegular(path, await stat(path));
      signal.throwIfAborted();
      await using file = await open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
      assertRegular(path, await file.stat());
      return await readSome(path, file, bytesMax, signal);
    });
  }

  /** Reads the whole file. @throws as {@link read}, and where it is longer */
  async readText(path: string, bytesMax: number): Promise<string> {
    const bytes = await this.read(path, bytesMax + 1);
    if (bytes.length > bytesMax) throw new Error(`${path} has more than ${bytesMax} bytes`);
    return bytes.toString('utf8');
  }

  stat(path: string): Promise<Stats> {
    return this.run(path, () => stat(path));
  }

  /** Writes a file to the disk, as a whole or not at all, readable for its owner only. */
  replace(path: string, text: string): Promise<void> {
    return this.run(path, (signal) => replaceFile(path, text, signal, true), { alone: true });
  }

  /**
   * Makes a folder in an existing one if it is missing: making all parents hangs in Node.js where the file system says that one does not exist
   * (/proc).
   */
  makeFolder(path: string): Promise<void> {
    return this.run(path, async () => {
      await mkdir(path, { mode: FOLDER_MODE }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
    });
  }
}

/** For a step of a gate: writes a file as a whole or not at all. */
export async function replaceFile(path: string, text: string, signal: AbortSignal, isSynced = false): Promise<void> {
  const temporary = `${path}.new`;
  // A link of that name would lead elsewhere.
  await rm(temporary, { force: true });
  {
    await using file = await open(temporary, 'wx', MODE);
    await file.writeFile(text);
    if (isSynced) await file.sync();
  }
  signal.throwIfAborted();
  await rename(temporary, path);
}

/** @throws for anything but a regular file, with a message that says what it is */
export function assertRegular(path: string, stats: Stats): void {
  if (!stats.isFile()) throw new Error(`${path} is ${kindOf(stats)}: give a regular file`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a pipe';
  if (stats.isSocket()) return 'a socket';
  if (stats.isSymbolicLink()) return 'a link';
  return 'a device';
}

async function readSome(path: string, file: FileHandle, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  while (length < bytesMax) {
    signal.throwIfAborted();
    const room = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytesMax - length));
    const { bytesRead } = await file.read(room, 0, room.length).catch((error: NodeJS.ErrnoException) => {
      // A read may block despite stat(2): a procfs file that waits for news, for example.
      throw error.code === 'EAGAIN' ? new Error(`${path} has no end: it is not an ordinary file`) : error;
    });
    if (bytesRead === 0) break;
    chunks.push(room.subarray(0, bytesRead));
    length += bytesRead;
  }
  return Buffer.concat(chunks);
}
