import type { Stats } from 'node:fs';
import { constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { FileGate } from './gate.ts';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
const CHUNK_BYTES = 64 * 1024;
/** Only the agent's user can read files that the agent writes. */
const MODE = 0o600;
const FOLDER_MODE = 0o700;

/** Reads and writes files at user-configured paths. Accepts only regular files, and limits how long callers wait. */
export class Files extends FileGate {
  /**
   * Reads at most `bytesMax` bytes of a regular file.
   * @throws an error that names the file
   */
  read(path: string, bytesMax: number): Promise<Buffer> {
    return this.run(path, async (signal) => {
      // Checked before open(2), which can have side effects on a device.
      assertRegular(path, await stat(path));
      signal.throwIfAborted();
      await using file = await open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
      assertRegular(path, await file.stat());
      return await readSome(path, file, bytesMax, signal);
    });
  }

  /** Reads a whole file. @throws like {@link read}, and if the file is longer than `bytesMax` */
  async readText(path: string, bytesMax: number): Promise<string> {
    const bytes = await this.read(path, bytesMax + 1);
    if (bytes.length > bytesMax) throw new Error(`${path} has more than ${bytesMax} bytes`);
    return bytes.toString('utf8');
  }

  stat(path: string): Promise<Stats> {
    return this.run(path, () => stat(path));
  }

  /** Replaces a file atomically and syncs it. Only its owner may read it. */
  replace(path: string, text: string): Promise<void> {
    return this.run(path, (signal) => replaceFile(path, text, signal, true), { alone: true });
  }

  /**
   * Creates a directory unless it exists. Does not create its parents: `recursive` makes Node.js loop forever if
   * mkdir(2) fails with ENOENT although the parent exists, as in /proc.
   */
  makeFolder(path: string): Promise<void> {
    return this.run(path, async () => {
      await mkdir(path, { mode: FOLDER_MODE }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
    });
  }
}

/** Replaces a file atomically. Must run as a step of a {@link FileGate}. */
export async function replaceFile(path: string, text: string, signal: AbortSignal, isSynced = false): Promise<void> {
  const temporary = `${path}.new`;
  // An earlier attempt may have left a file, or another program may have created a symbolic link.
  await rm(temporary, { force: true });
  {
    await using file = await open(temporary, 'wx', MODE);
    await file.writeFile(text);
    if (isSynced) await file.sync();
  }
  signal.throwIfAborted();
  await rename(temporary, path);
}

/** @throws unless the file is regular, with a message that names its type */
export function assertRegular(path: string, stats: Stats): void {
  if (!stats.isFile()) throw new Error(`${path} is ${kindOf(stats)}: give a regular file`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
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
      // A read may block even on a regular file, because some procfs files wait for data.
      throw error.code === 'EAGAIN' ? new Error(`${path} blocks on read: give an ordinary file`) : error;
    });
    if (bytesRead === 0) break;
    chunks.push(room.subarray(0, bytesRead));
    length += bytesRead;
  }
  return Buffer.concat(chunks);
}
