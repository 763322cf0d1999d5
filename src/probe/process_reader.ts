import type { Cycle } from '#core/cycle.ts';
import type { Malformed, SourceErrors } from '#sources/errors.ts';
import { describeMissing, missingCapabilities } from '#sources/procfs/capabilities.ts';

/** Reads files of many processes in one collection, and counts those that cannot be read. */
export class ProcessReader {
  readonly #errors: SourceErrors;
  readonly #cycle: Cycle;
  #read = 0;
  #unreadable = 0;
  #last = '';

  constructor(errors: SourceErrors, cycle: Cycle) {
    this.#errors = errors;
    this.#cycle = cycle;
  }

  /**
   * Calls `read` for each item, and returns the results. Skips items for which `read` returns undefined, because the
   * process has exited. If `read` throws for any item, returns undefined, because an incomplete sum would be wrong.
   * @param file name of the file below /proc/<pid>
   */
  async all<Item, Result>(
    file: string,
    items: Iterable<Item>,
    read: (item: Item) => Promise<Result | undefined> | Result | undefined,
  ): Promise<Result[] | undefined> {
    const results: Result[] = [];
    let isWhole = true;
    for (const item of items) {
      this.#read++;
      try {
        const result = await read(item);
        if (result !== undefined) results.push(result);
      } catch (error) {
        this.#cycle.signal.throwIfAborted();
        this.#refuse(file, error as NodeJS.ErrnoException);
        isWhole = false;
      }
      await this.#cycle.pause();
    }
    return isWhole ? results : undefined;
  }

  /** Returns the callback for malformed lines of a file below /proc/<pid>. */
  malformed(file: string): Malformed {
    return this.#errors.malformed('procfs', file);
  }

  /** Describes the unreadable files for operators; empty if all files could be read. */
  describe(): string[] {
    return this.#unreadable === 0
      ? []
      : [
          `${this.#unreadable} of ${this.#read} files of processes cannot be read, and their owners are left out: ${this.#last}`,
        ];
  }

  #refuse(file: string, error: NodeJS.ErrnoException): void {
    this.#errors.count('procfs', file, error);
    this.#unreadable++;
    const { code, message } = error;
    const isRefused = code === 'EACCES' || code === 'EPERM';
    // The first capability is required to read files of other users, and the second one to read files of processes that
    // have additional capabilities.
    const missing = isRefused ? describeMissing(missingCapabilities(['CAP_DAC_READ_SEARCH', 'CAP_SYS_PTRACE'])) : '';
    this.#last = missing === '' ? message : `${missing} (${message})`;
  }
}
