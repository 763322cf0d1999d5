import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, SYSTEM_CLOCK } from '#core/clock.ts';
import type { Files } from '#files/files.ts';

/**
 * Maximum size of a document in bytes. Parsing and validating a document of this size blocks the main thread for at
 * most a second.
 */
export const DOCUMENT_BYTES_MAX = 256 * 1024;

/** Milliseconds to wait after a change, so that several changes in quick succession cause only one read. */
const SETTLE_MS = 50;
/**
 * A file is considered completely written once it has not changed for this many milliseconds. The wait is needed
 * because some programs write files in place instead of renaming them.
 */
const REST_MS = 300;
/** Milliseconds after which a file is used even though it keeps changing. */
const UNREST_MAX_MS = 5_000;
/**
 * Milliseconds between checks of the file for changes that inotify misses, such as a remount or a change behind a
 * symlink.
 */
const POLL_MS = 10_000;
/**
 * Interval in milliseconds between checks while there is no watch. The first check also takes place after this time, to
 * detect changes that were made before the watch existed.
 */
const POLL_ALONE_MS = 1_000;

/** Text of the file, or the reason why it cannot be read. */
export type FileContent = { readonly text: string } | { readonly error: string };

export interface FileWatcherOptions {
  readonly path: string;
  /** Content that the caller has already read. It is not reported as a change. */
  readonly initial: FileContent;
  /** Called when the content differs from the previous content. */
  readonly changed: (content: FileContent) => void;
  readonly files: Files;
  readonly warn: (message: string) => void;
  readonly clock?: Clock;
  readonly watch?: typeof watchFolder;
}

/**
 * Watches a file through its directory. The kubelet updates a mounted ConfigMap by swapping the symlink `..data` in the
 * directory, which a watch on the file would miss. A changing file is read only after it has stopped changing.
 */
export class FileWatcher implements Disposable {
  readonly #options: FileWatcherOptions;
  readonly #clock: Clock;
  #timer: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  #watcher: FSWatcher | undefined;
  #settling: NodeJS.Timeout | undefined;
  #last: string;
  #stamp = '';
  #notice = '';
  #isLooking = false;
  #isLookDue = false;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: FileWatcherOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#last = JSON.stringify(options.initial);
    this.#watch();
    this.#schedule(POLL_ALONE_MS);
  }

  /** Returns why changes are detected late; empty if they are detected immediately. */
  get notice(): string {
    return this.#notice;
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#settling);
    this.#watcher?.close();
  }

  #watch(): void {
    const { path, watch = watchFolder } = this.#options;
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, () => this.#settle());
      this.#watcher.on('error', (error) => this.#unwatch(error));
      this.#notice = '';
    } catch (error) {
      this.#unwatch(error as Error);
    }
  }

  /** Removes the watch. Without a watch, the file is checked every second. */
  #unwatch(error?: NodeJS.ErrnoException): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    // These error codes are documented in man 2 inotify_init and inotify_add_watch.
    const limit = { EMFILE: 'max_user_instances', ENOSPC: 'max_user_watches' }[error?.code ?? ''];
    if (limit === undefined) return;
    const notice = `${this.#options.path} is checked only once a second, because the limit of inotify is reached (${error?.code}); raise fs.inotify.${limit}`;
    if (this.#notice !== notice) this.#options.warn(notice);
    this.#notice = notice;
  }

  /** Schedules a read of the file and a check of the watch, because the directory may have been replaced as well. */
  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      void this.#read();
      void this.#look();
    }, SETTLE_MS);
  }

  #schedule(pauseMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), pauseMs);
    this.#timer.unref();
  }

  /** Checks the file. Only one check runs at a time. Requests during a check cause one more check. */
  async #look(): Promise<void> {
    this.#isLookDue = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    while (this.#isLookDue) {
      this.#isLookDue = false;
      await this.#poll();
    }
    this.#isLooking = false;
    if (!this.#ending.signal.aborted) this.#schedule(this.#watcher === undefined ? POLL_ALONE_MS : POLL_MS);
  }

  async #poll(): Promise<void> {
    const stamp = await this.#stampOf();
    if (this.#ending.signal.aborted) return;
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      // The directory may have been replaced, in which case the watch is still on the old directory.
      this.#unwatch();
      this.#watch();
      await this.#read();
    } else if (this.#watcher === undefined) this.#watch();
  }

  /** Returns a string that changes when the directory or the file is replaced or modified. */
  async #stampOf(): Promise<string> {
    const { path, files } = this.#options;
    try {
      const [directory, file] = [await files.stat(dirname(path)), await files.stat(path)];
      return [directory.dev, directory.ino, file.dev, file.ino, file.mtimeMs, file.size].join();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  }

  /**
   * Reads the file and reports new content. Runs one read at a time, so that old content cannot overwrite newer
   * content.
   */
  #read(): Promise<void> {
    this.#reading = this.#reading.then(async () => {
      const content = await this.#readRested();
      const key = JSON.stringify(content);
      if (this.#ending.signal.aborted || key === this.#last) return;
      this.#last = key;
      this.#options.changed(content);
    });
    return this.#reading;
  }

  async #readRested(): Promise<FileContent> {
    const { path, files } = this.#options;
    for (let waitedMs = 0; ; waitedMs += REST_MS) {
      const before = await this.#stampOf();
      const content = await readContent(files, path);
      if (JSON.stringify(content) === this.#last || waitedMs >= UNREST_MAX_MS) return content;
      await this.#clock.sleep(REST_MS, this.#ending.signal);
      if (this.#ending.signal.aborted || (await this.#stampOf()) === before) return content;
    }
  }
}

/**
 * Reads the configuration file.
 * @param path value of `--config`
 */
export async function readContent(files: Files, path: string): Promise<FileContent> {
  try {
    return { text: (await files.read(path, DOCUMENT_BYTES_MAX + 1)).toString('utf8') };
  } catch (error) {
    return { error: `--config: ${(error as Error).message}` };
  }
}
