import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';

/** Watches the directory of named network namespaces (`ip netns add`) with inotify. */
export class NetnsNames implements Disposable {
  readonly #folder: string;
  readonly #changed: () => void;
  #watcher: FSWatcher | undefined;

  /** @param changed called when a name was added or removed */
  constructor(folder: string, changed: () => void) {
    this.#folder = folder;
    this.#changed = changed;
  }

  /**
   * Starts to watch the directory, unless it is already being watched. The directory may not exist yet, because it is
   * created together with the first name.
   * @returns false if new names cannot be noticed because an inotify limit is reached (man 2 inotify_add_watch)
   */
  follow(): boolean {
    if (this.#watcher !== undefined) return true;
    try {
      this.#watcher = watch(this.#folder, { persistent: false }, (_, name) => this.#tell(name));
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
    this.#watcher.on('error', () => this[Symbol.dispose]());
    return true;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #tell(name: string | null): void {
    // libuv reports a change of the directory itself under the directory's own name. From then on, the path may refer
    // to another directory.
    if (name === null || name === basename(this.#folder)) this[Symbol.dispose]();
    this.#changed();
  }
}
