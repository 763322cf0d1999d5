import { write as fsWrite } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { LaneRecord } from '../record.ts';
import { type Receipt, type Sink, Unavailable } from '../sink.ts';
import { messageOf } from './advice.ts';

const write = promisify(fsWrite);

const STDOUT = 1;
const RETRY_MS = 20;

/**
 * Writes JSON lines to standard output. Uses the file descriptor, because process.stdout blocks the thread, and thereby
 * every scrape, if the reader of a pipe stops reading.
 */
export class StdoutSink implements Sink {
  readonly name = 'stdout';
  readonly #fd: number;
  /** Whether the last write ended in the middle of a line. */
  #isTorn = false;

  constructor(fd = STDOUT) {
    this.#fd = fd;
  }

  async write(records: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    const bytes = Buffer.from(`${this.#isTorn ? '\n' : ''}${records.map(({ json }) => `${json}\n`).join('')}`);
    let at = 0;
    try {
      while (at < bytes.length) {
        signal.throwIfAborted();
        at += await this.#writeSome(bytes, at);
      }
      this.#isTorn = false;
    } catch (error) {
      const whole = bytes.subarray(0, at).lastIndexOf('\n') + 1;
      receipt.delivered(records.slice(0, countLines(bytes, whole) - (this.#isTorn && whole > 0 ? 1 : 0)));
      if (at > 0) this.#isTorn = whole < at;
      throw error instanceof Unavailable ? error : new Unavailable(messageOf(error));
    }
  }

  async close(): Promise<void> {}

  async #writeSome(bytes: Buffer, at: number): Promise<number> {
    try {
      return (await write(this.#fd, bytes, at)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await wait(RETRY_MS);
      return 0;
    }
  }
}

const NEWLINE = 0x0a;

function countLines(bytes: Buffer, end: number): number {
  let lines = 0;
  for (let at = 0; at < end; at++) lines += bytes[at] === NEWLINE ? 1 : 0;
  return lines;
}
