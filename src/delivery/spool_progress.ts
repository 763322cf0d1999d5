import type { Position, SpoolFiles } from './spool_files.ts';

/** Removes files that are fully delivered, and saves the position up to which the others are delivered. */
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

  /** Resolves once everything given so far is saved, or cannot be. */
  get saved(): Promise<void> {
    return this.#saving ?? Promise.resolve();
  }

  /** @param done files that are fully delivered */
  save(done: readonly number[] = []): void {
    for (const id of done) this.#done.add(id);
    this.#isUnsaved = true;
    this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = undefined;
    });
  }

  /** The files belong to somebody else now. */
  forget(): void {
    this.#done.clear();
  }

  /** Files are removed first: if the position is not saved, the next run delivers some records a second time. */
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
        if (!this.#hasFailed) this.#warn(`the position in the spool is not written: ${(error as Error).message}`);
        this.#hasFailed = true;
      }
    }
  }
}
