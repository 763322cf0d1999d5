import { write as fsWrite } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { EventRecord } from '../envelope.ts';
import type { Sink } from '../sink_queue.ts';

const write = promisify(fsWrite);

const STDOUT = 1;
const RETRY_MS = 20;

/**
 * Prints a JSON object a line. Written by descriptor, not through process.stdout: that blocks the thread when whoever
 * reads the pipe stops reading, and with it every scrape.
 */
export class StdoutSink implements Sink {
  readonly name = 'stdout';
  readonly #fd: number;
  #closed = false;

  constructor(fd = STDOUT) {
    this.#fd = fd;
  }

  async write(events: readonly EventRecord[]): Promise<void> {
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    for (let at = 0; at < bytes.length; ) {
      if (this.#closed) throw new Error('stdout did not take the events in time');
      at += await this.#writeSome(bytes, at);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

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
