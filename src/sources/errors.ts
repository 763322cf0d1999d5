/** Place that a source reads: a file relative to /proc, or a kind of netlink dump. */
export type SourcePath = string;

/** Called for each piece of a kernel answer that was malformed and left out. */
export type Malformed = (what: string) => void;

/** Counts data that a source could not read or parse. Such an error never stops the agent: the row is left out. */
export class SourceErrors {
  readonly counts = new Map<string, { readonly source: string; readonly path: SourcePath; count: number }>();
  readonly #log: (message: string) => void;

  /** @param log called with the first error of each kind, for people who ask why */
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
    this.#log(`${source} ${path}: ${message} (more of these are only counted, in netsonde_source_errors_total)`);
  }

  /** Returns a callback for the parser of that data. */
  malformed(source: string, path: SourcePath): Malformed {
    return (what) => this.count(source, path, new Error(`not understood: ${what}`));
  }
}
