/** Results of requests, for the agent's metrics. */
export interface ResourceTally {
  readonly resource: string;
  /** By verb and code, separated by a space: `list 200`, `watch error`. */
  readonly requests: ReadonlyMap<string, number>;
  readonly relists: number;
  /** When the server last answered for it, by performance.now(); undefined: never. */
  readonly heardMs: number | undefined;
  readonly objects: number;
  readonly isConnected: boolean;
  /** Failure of the last request, and what helps; undefined where there was none. */
  readonly trouble: string | undefined;
}
