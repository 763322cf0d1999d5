/** Identifies data that a source reads: a file path relative to /proc, or the name of a netlink request. */
export type SourcePath = string;

/** Called for each malformed part of a kernel response. Such parts are skipped. */
export type Malformed = (what: string) => void;

/** Counts data that could not be read or parsed. Such errors never stop the agent; only the affected row is skipped. */
export class SourceErrors {
  readonly counts = new Map<string, { readonly source: string; readonly path: SourcePath; count: number }>();
  readonly #log: (message: string) => void;

  /**
   * @param log called with the first error of each kind
   */
  constructor(log: (message: string) => void = () => undefined) {
    this.#log = log;
  }

  count(source: string, path: SourcePath, error: unknown): void {
    const key = `${source}\0${path}`;
    const entry = this.counts.get(key);
    if (entry !== undefined) {
      entry.count++;
      return;
    }
    this.counts.set(key, { source, path, count: 1 });
    const message = error instanceof Error ? error.message : String(error);
    this.#log(
      `${source} ${path}: ${message} (further errors of this kind are only counted in netsonde_source_errors_total)`,
    );
  }

  /** Returns a callback that counts malformed data. */
  malformed(source: string, path: SourcePath): Malformed {
    return (what) => this.count(source, path, new Error(`not understood: ${what}`));
  }
}
