import { createReadStream, type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';

/** Of a longer document no more is read than shows that. What is no YAML at all takes two seconds to say so at this length. */
export const DOCUMENT_BYTES_MAX = 256 * 1024;

/** Changes that come together are read once. */
const SETTLE_MS = 50;
/** A look at the file itself, for what inotify does not tell: a remount, a directory that was replaced, no watches left. */
const POLL_MS = 1_000;

/** The text of the file, or the reason why it cannot be read. */
export type FileContent = { readonly text: string } | { readonly error: string };

/**
 * Watches a file through its directory: the kubelet updates a mounted ConfigMap by swapping the symlink `..data` beside
 * it, and a watch on the file itself dies with the first swap.
 */
export class FileWatcher implements Disposable {
  readonly #path: string;
  readonly #changed: (content: FileContent) => void;
  readonly #timer: NodeJS.Timeout;
  #watcher: FSWatcher | undefined;
  #settling: NodeJS.Timeout | undefined;
  #last: string;
  #stamp = '';
  #closed = false;
  #reading: Promise<void> = Promise.resolve();

  /** @param initial what the caller has read already; `changed` is called for what differs from it */
  constructor(path: string, initial: FileContent, changed: (content: FileContent) => void) {
    this.#path = path;
    this.#last = JSON.stringify(initial);
    this.#changed = changed;
    this.#watch();
    this.#timer = setInterval(() => void this.#poll(), POLL_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    this.#watcher?.close();
  }

  #watch(): void {
    try {
      this.#watcher = watch(dirname(this.#path), { persistent: false }, () => this.#settle());
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      // No such directory yet, or no watches left: the poll sees the change, a second later.
      this.#watcher = undefined;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => void this.#read(), SETTLE_MS);
  }

  async #poll(): Promise<void> {
    const stamp = await this.#stampOf();
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      // Another directory may be at this path now, and the watch on the old one.
      this.#unwatch();
      this.#watch();
      await this.#read();
    }
  }

  /** Of the directory and the file: which they are, and when they changed. */
  async #stampOf(): Promise<string> {
    try {
      const [directory, file] = await Promise.all([stat(dirname(this.#path)), stat(this.#path)]);
      return [directory.dev, directory.ino, file.dev, file.ino, file.mtimeMs, file.size].join();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  }

  /** One after the other: of two at the same time the older one may end later, and its text would stay. */
  #read(): Promise<void> {
    this.#reading = this.#reading.then(async () => {
      const content = await readContent(this.#path);
      const key = JSON.stringify(content);
      if (this.#closed || key === this.#last) return;
      this.#last = key;
      this.#changed(content);
    });
    return this.#reading;
  }
}

export async function readContent(path: string): Promise<FileContent> {
  try {
    return { text: await text(createReadStream(path, { end: DOCUMENT_BYTES_MAX })) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
