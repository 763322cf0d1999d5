import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, SYSTEM_CLOCK } from '#core/clock.ts';
import type { Files } from '#files/files.ts';

/**
 * A longer document is read only far enough to show that it is too long. Parsing and checking one of this size takes a second of the
 * main thread at most.
 */
export const DOCUMENT_BYTES_MAX = 256 * 1024;

/** Changes in quick succession are read once. */
const SETTLE_MS = 50;
/** A file that did not change for this long is complete: some programs write a file in place. */
const REST_MS = 300;
/** A file that changes all the time is taken as it is after this time. */
const UNREST_MAX_MS = 5_000;
/**
 * Interval at which the file itself is checked, for changes that inotify misses: a remount, a change behind a link that leads
 * elsewhere.
 */
const POLL_MS = 10_000;
/** Interval where there is no watch, and soon after the start, since the file may have changed before it was watched. */
const POLL_ALONE_MS = 1_000;

/** The text of the file, or the reason why it cannot be read. */
export type FileContent = { readonly text: string } | { readonly error: string };

export interface FileWatcherOptions {
  readonly path: string;
  /** Text that the caller has read already. */
  readonly initial: FileContent;
  /** Called for every text that differs from the last one. */
  readonly changed: (content: FileContent) => void;
  readonly files: Files;
  readonly warn: (message: string) => void;
  readonly clock?: Clock;
  readonly watch?: typeof watchFolder;
}

/**
 * Watches a file through its directory: the kubelet updates a mounted ConfigMap by swapping the symlink `..data` beside it, and a
 * watch on the file itself is lost with the first swap. A file that is being written is read once it stops changing.
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

  /** Reason why changes are noticed late; empty where they are not. */
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

  /** Without a watch the poll sees the change, a second later. */
  #unwatch(error?: NodeJS.ErrnoException): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    // man 2 inotify_init, inotify_add_watch
    const limit = { EMFILE: 'max_user_instances', ENOSPC: 'max_user_watches' }[error?.code ?? ''];
    if (limit === undefined) return;
    const notice = `${this.#options.path} is only checked every second: the limit of inotify is reached (${error?.code}); raise fs.inotify.${limit}`;
    if (this.#notice !== notice) this.#options.warn(notice);
    this.#notice = notice;
  }

  /** The directory itself may have been replaced, and the watch with it. */
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

  /** Checks run one after the other; requests during a check become one further check. */
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
      // Another directory may be at this path now, while the watch is on the old one.
      this.#unwatch();
      this.#watch();
      await this.#read();
    } else if (this.#watcher === undefined) this.#watch();
  }

  /** Identities of the directory and the file, and when they changed. */
  async #stampOf(): Promise<string> {
    const { path, files } = this.#options;
    try {
      const [directory, file] = [await files.stat(dirname(path)), await files.stat(path)];
      return [directory.dev, directory.ino, file.dev, file.ino, file.mtimeMs, file.size].join();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  }

  /** Reads run one after the other: if two overlapped, the older one could end later, and its text would stay. */
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

/** @param path as it was given with `--config` */
export async function readContent(files: Files, path: string): Promise<FileContent> {
  try {
    return { text: (await files.read(path, DOCUMENT_BYTES_MAX + 1)).toString('utf8') };
  } catch (error) {
    return { error: `--config: ${(error as Error).message}` };
  }
}
