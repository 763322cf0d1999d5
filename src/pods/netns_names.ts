import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';

/** Follows the folder in which network namespaces get names (`ip netns add`), by inotify. */
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
   * Starts watching, where it does not watch the folder yet. A folder that does not exist is made with the first name.
   * @returns false where names go unnoticed, because the limit of inotify is reached (man 2 inotify_add_watch)
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
    // libuv reports the folder itself by its own name: another one may have its path from now on.
    if (name === null || name === basename(this.#folder)) this[Symbol.dispose]();
    this.#changed();
  }
}
