import { mkdir, open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where reading goes on: number of the file, and byte in it. */
export interface Position {
  readonly id: number;
  readonly offset: number;
}

const NAME = /^(\d{10})\.jsonl$/;
const POSITION = 'position';
const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;
/** A line of ours is far shorter: this is no file of ours. */
const LINE_BYTES_MAX = 16 * CHUNK_BYTES;

/**
 * The files of a spool: numbered, of JSON lines, with the position up to which they are delivered beside them. They
 * survive the process, not the machine: nothing waits for the disk.
 */
export class SpoolFiles {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Numbers of the files that there are, in order, and where reading goes on. */
  async list(): Promise<{ ids: number[]; position: Position }> {
    await mkdir(this.directory, { recursive: true });
    const names = await readdir(this.directory);
    const ids = names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
    return { ids: ids.sort((a, b) => a - b), position: await this.#position() };
  }

  async append(id: number, text: Uint8Array, from: number): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    const file = await open(this.#path(id), 'a');
    try {
      await file.appendFile(text);
    } catch (error) {
      // A part may have found room.
      await file.truncate(from).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Whole lines from `offset` on and before `end`, of about so many bytes, at least one. */
  async read(id: number, offset: number, end: number, bytes: number): Promise<string[]> {
    const file = await open(this.#path(id), 'r');
    try {
      for (let room = bytes; ; room *= 2) {
        const length = Math.min(room, end - offset);
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset);
        const whole = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE);
        if (whole >= 0) return buffer.toString('utf8', 0, whole).split('\n');
        if (bytesRead < room || room > LINE_BYTES_MAX) throw new Error(`${this.#path(id)} has no line at ${offset}`);
      }
    } finally {
      await file.close();
    }
  }

  /** Calls for every line from `offset` on. Returns where the last whole one ends. */
  async scan(id: number, offset: number, line: (text: string) => void): Promise<number> {
    const file = await open(this.#path(id), 'r');
    try {
      const { size } = await file.stat();
      let end = Math.min(offset, size);
      let rest = Buffer.alloc(0);
      for (let at = end; at < size; ) {
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, at);
        if (bytesRead === 0) break;
        at += bytesRead;
        const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const whole = bytes.lastIndexOf(NEWLINE) + 1;
        if (whole > 0) for (const text of bytes.toString('utf8', 0, whole - 1).split('\n')) line(text);
        end += whole;
        rest = bytes.subarray(whole);
      }
      return end;
    } finally {
      await file.close();
    }
  }

  /** Cuts off what was being written when the process was killed. */
  async cut(id: number, bytes: number): Promise<void> {
    await truncate(this.#path(id), bytes);
  }

  async remove(id: number): Promise<void> {
    await rm(this.#path(id), { force: true });
  }

  async savePosition({ id, offset }: Position): Promise<void> {
    const path = join(this.directory, POSITION);
    await writeFile(`${path}.new`, `${id} ${offset}\n`);
    await rename(`${path}.new`, path);
  }

  async #position(): Promise<Position> {
    try {
      const [, id, offset] = /^(\d+) (\d+)\n$/.exec(await readFile(join(this.directory, POSITION), 'utf8')) ?? [];
      return { id: Number(id ?? 0), offset: Number(offset ?? 0) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return { id: 0, offset: 0 };
    }
  }

  #path(id: number): string {
    return join(this.directory, `${String(id).padStart(10, '0')}.jsonl`);
  }
}
