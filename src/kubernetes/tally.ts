/** Results of requests for one resource, for metrics. */
export interface ResourceTally {
  readonly resource: string;
  /** Number of requests by verb and code, separated by a space, such as `list 200` or `watch error`. */
  readonly requests: ReadonlyMap<string, number>;
  readonly relists: number;
  /** When the server last responded, by performance.now(); undefined if never. */
  readonly heardMs: number | undefined;
  readonly objects: number;
  readonly isConnected: boolean;
  /** Reason why the last request failed, and what to do about it; undefined if it succeeded. */
  readonly trouble: string | undefined;
}
