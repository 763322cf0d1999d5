import type { Position, SpoolFiles } from './spool_files.ts';

/** Removes delivered files, and saves the position in the first remaining file. */
export class SpoolProgress {
  readonly #files: SpoolFiles;
  readonly #position: () => Position;
  readonly #warn: (message: string) => void;
  readonly #done = new Set<number>();
  #saving: Promise<void> | undefined;
  #isUnsaved = false;
  #hasFailed = false;

  constructor(files: SpoolFiles, position: () => Position, warn: (message: string) => void) {
    this.#files = files;
    this.#position = position;
    this.#warn = warn;
  }

  /** Resolves once all progress so far has been saved, or saving has failed. */
  get saved(): Promise<void> {
    return this.#saving ?? Promise.resolve();
  }

  /** @param done numbers of files that are completely delivered */
  save(done: readonly number[] = []): void {
    for (const id of done) this.#done.add(id);
    this.#isUnsaved = true;
    this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = undefined;
    });
  }

  /** Keeps the files that have not been removed yet, because the spool no longer uses the directory. */
  forget(): void {
    this.#done.clear();
  }

  /** Removes files before it saves the position. If saving fails, the next run only delivers some records twice. */
  async #saveAll(): Promise<void> {
    while (this.#isUnsaved) {
      this.#isUnsaved = false;
      try {
        for (const id of this.#done) {
          await this.#files.remove(id);
          this.#done.delete(id);
        }
        await this.#files.savePosition(this.#position());
        this.#hasFailed = false;
      } catch (error) {
        if (!this.#hasFailed) this.#warn(`cannot write the position in the spool: ${(error as Error).message}`);
        this.#hasFailed = true;
      }
    }
  }
}
