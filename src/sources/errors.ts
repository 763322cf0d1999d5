/** Where a source reads: a file relative to /proc, or a kind of netlink dump. */
export type SourcePath = string;

/** Told of each piece of an answer of the kernel that made no sense, and was left out. */
export type Garbled = (what: string) => void;

/** What a source could not read or make sense of. Never a reason to stop: the row is left out, and counted here. */
export class SourceErrors {
  readonly counts = new Map<string, { readonly source: string; readonly path: SourcePath; count: number }>();
  /** The last message for each, for people who ask why. */
  readonly messages = new Map<string, string>();

  count(source: string, path: SourcePath, error: unknown): void {
    const key = `${source}\0${path}`;
    const entry = this.counts.get(key);
    if (entry === undefined) this.counts.set(key, { source, path, count: 1 });
    else entry.count++;
    this.messages.set(key, error instanceof Error ? error.message : String(error));
  }

  /** For the parser of what was read there. */
  garbled(source: string, path: SourcePath): Garbled {
    return (what) => this.count(source, path, new Error(`not understood: ${what}`));
  }
}
