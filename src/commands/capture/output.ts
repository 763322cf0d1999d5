import { close, constants, fstat, ftruncate, open, write } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';

const { O_WRONLY, O_CREAT, O_NONBLOCK, O_NOCTTY, O_NOFOLLOW } = constants;
const STDOUT = 1;
/** Only the user of the command may read captured packets. */
const MODE = 0o600;
const RETRY_MS = 5;
/** Time in milliseconds after which a write counts as stalled, once the capture has ended. */
const STALLED_MS = 2_000;
const STALLED = 'the reader does not read';
/** Half of the default size of a pipe (man 7 pipe). */
const PIPE_BYTES = 32_768;
/** Every block starts with its type and its length, and ends with its length. */
const BLOCK_BYTES_MIN = 12;
const LENGTH_OFFSET = 4;

const calls = {
  open: promisify(open),
  close: promisify(close),
  fstat: promisify(fstat),
  ftruncate: promisify(ftruncate),
  write: promisify(write),
};

/** Reason why nothing more can be written. */
export class OutputFailure extends Error {
  override readonly name = 'OutputFailure';
  /** Whether the reader of a pipe has gone, which is a usual way to end a capture. */
  readonly isReaderGone: boolean;
  /** Bytes of the complete blocks that were written before the failure. */
  readonly written: number;

  constructor(message: string, isReaderGone = false, written = 0) {
    super(message);
    this.isReaderGone = isReaderGone;
    this.written = written;
  }
}

/**
 * File or pipe that blocks are written to. A write waits until the reader of the pipe has room. After a failure, a file
 * ends with the last complete block.
 */
export class Output implements AsyncDisposable {
  /** Bytes written so far. They are always complete blocks. */
  bytes = 0;
  readonly #fd: number;
  readonly #name: string;
  readonly #ended: AbortSignal;

  private constructor(fd: number, name: string, ended: AbortSignal) {
    this.#fd = fd;
    this.#name = name;
    this.#ended = ended;
  }

  get #isStdout(): boolean {
    return this.#fd === STDOUT;
  }

  /**
   * Opens a regular file, whose earlier content is lost, or standard output for `-`.
   * @param ended aborted when the capture ends. From then on, a write that makes no progress fails
   * @throws if the file cannot be opened or is not a regular file, or if standard output is a terminal
   */
  static async open(path: string, ended: AbortSignal): Promise<Output> {
    if (path === '-') {
      if (isatty(STDOUT)) throw new Error('-w -: standard output is a terminal; redirect it to a file or a program');
      return new Output(STDOUT, 'standard output', ended);
    }
    let fd: number;
    try {
      fd = await calls.open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, MODE);
    } catch (error) {
      throw new Error(`-w ${path}: ${reasonOf(error)}`);
    }
    if (!(await calls.fstat(fd)).isFile()) {
      await calls.close(fd);
      throw new Error(`-w ${path}: this is not a regular file; give - to write to standard output`);
    }
    await calls.ftruncate(fd, 0);
    return new Output(fd, path, ended);
  }

  /** Writes complete blocks. @throws {OutputFailure} */
  async write(blocks: Uint8Array): Promise<void> {
    const progress = { at: 0 };
    try {
      await this.#writeAll(blocks, progress);
      this.bytes += blocks.length;
    } catch (error) {
      const written = completeBytes(blocks, progress.at);
      this.bytes += written;
      if (!this.#isStdout) await calls.ftruncate(this.#fd, this.bytes).catch(() => undefined);
      const isReaderGone = (error as NodeJS.ErrnoException).code === 'EPIPE';
      const reason = isReaderGone ? 'the reader has gone' : reasonOf(error);
      throw new OutputFailure(`${this.#name}: ${reason}`, isReaderGone, written);
    }
  }

  async #writeAll(blocks: Uint8Array, progress: { at: number }): Promise<void> {
    let retries = 0;
    while (progress.at < blocks.length) {
      const { at } = progress;
      // A slow reader takes a long write in small parts, and the kernel reports only the end of the write.
      const length = this.#isStdout ? Math.min(PIPE_BYTES, blocks.length - at) : blocks.length - at;
      const position = this.#isStdout ? null : this.bytes + at;
      try {
        progress.at += (await this.#inTime(calls.write(this.#fd, blocks, at, length, position))).bytesWritten;
      } catch (error) {
        // Another process may have set O_NONBLOCK for a pipe that it shares with this one.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await wait(RETRY_MS);
        if (this.#ended.aborted && ++retries * RETRY_MS > STALLED_MS) throw new Error(STALLED);
      }
    }
  }

  /** @throws if the write has made no progress for some time after the end of the capture */
  async #inTime<T>(writing: Promise<T>): Promise<T> {
    const { promise: stalled, reject } = Promise.withResolvers<never>();
    let timer: NodeJS.Timeout | undefined;
    const start = () => {
      timer = setTimeout(() => reject(new Error(STALLED)), STALLED_MS);
    };
    if (this.#ended.aborted) start();
    else this.#ended.addEventListener('abort', start, { once: true });
    try {
      return await Promise.race([writing, stalled]);
    } finally {
      clearTimeout(timer);
      this.#ended.removeEventListener('abort', start);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isStdout) await calls.close(this.#fd).catch(() => undefined);
  }
}

/** Returns the length of the complete blocks in the first `bytes` bytes. */
function completeBytes(blocks: Uint8Array, bytes: number): number {
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  let end = 0;
  while (end + BLOCK_BYTES_MIN <= bytes) {
    const next = end + view.getUint32(end + LENGTH_OFFSET, true);
    if (next > bytes) break;
    end = next;
  }
  return end;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOSPC':
      return 'the disk is full';
    case 'EDQUOT':
      return 'the disk quota is exhausted';
    case 'ELOOP':
      return 'this is a symbolic link; give the file itself';
    default:
      return message;
  }
}
