/** What came of requests, for the agent's metrics. */
export interface ResourceTally {
  readonly resource: string;
  /** By verb and code, separated by a space: `list 200`, `watch error`. */
  readonly requests: ReadonlyMap<string, number>;
  readonly relists: number;
  /** When the server was last heard of it, by performance.now(); undefined: never. */
  readonly heardMs: number | undefined;
  readonly objects: number;
  readonly isConnected: boolean;
  /** What went wrong with the last request, and what helps; undefined: nothing. */
  readonly trouble: string | undefined;
}
