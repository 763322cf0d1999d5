import { constants, type FileHandle, open, stat } from 'node:fs/promises';
import { tryLock, unavailable } from 'bpf-napi';

/**
 * A folder that is locked against everybody else who asks for the lock. The lock ends with the process, however that
 * ends.
 */
export class FolderLock {
  readonly #path: string;
  readonly #folder: FileHandle;

  private constructor(path: string, folder: FileHandle) {
    this.#path = path;
    this.#folder = folder;
  }

  /** Says whether this machine supports such locks. */
  static get isSupported(): boolean {
    return unavailable() === undefined;
  }

  /**
   * Returns undefined where somebody else has it.
   * @throws where the folder cannot be opened, or its file system has no locks
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

  /** Says whether the folder is still the one at its path. */
  async holds(): Promise<boolean> {
    const [ours, there] = await Promise.all([this.#folder.stat(), stat(this.#path).catch(() => undefined)]);
    return there !== undefined && ours.dev === there.dev && ours.ino === there.ino;
  }

  async release(): Promise<void> {
    await this.#folder.close();
  }
}
