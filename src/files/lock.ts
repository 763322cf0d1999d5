import { constants, type FileHandle, open, stat } from 'node:fs/promises';
import { tryLock, unavailable } from 'bpf-napi';

/** An exclusive lock on a directory (flock(2)). The kernel releases it when the process ends. */
export class FolderLock {
  readonly #path: string;
  readonly #folder: FileHandle;

  private constructor(path: string, folder: FileHandle) {
    this.#path = path;
    this.#folder = folder;
  }

  /** Whether this machine supports locks, which require the native addon. */
  static get isSupported(): boolean {
    return unavailable() === undefined;
  }

  /**
   * Returns undefined if another process holds the lock.
   * @throws if the directory cannot be opened, or if its file system does not support locks
   */
  static async take(path: string): Promise<FolderLock | undefined> {
    const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      if (!FolderLock.isSupported || (await tryLock(folder.fd))) return new FolderLock(path, folder);
    } catch (error) {
      await folder.close();
      throw error;
    }
    await folder.close();
    return undefined;
  }

  /** Whether the locked directory is still the one at its path. */
  async holds(): Promise<boolean> {
    const [ours, there] = await Promise.all([this.#folder.stat(), stat(this.#path).catch(() => undefined)]);
    return there !== undefined && ours.dev === there.dev && ours.ino === there.ino;
  }

  async release(): Promise<void> {
    await this.#folder.close();
  }
}
