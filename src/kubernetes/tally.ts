/** Results of the requests for one resource, for metrics. */
export interface ResourceTally {
  readonly resource: string;
  /** Number of requests by verb and code, separated by a space, such as `list 200` or `watch error`. */
  readonly requests: ReadonlyMap<string, number>;
  readonly relists: number;
  /** When the server last responded, as a performance.now() timestamp; undefined if it never has. */
  readonly heardMs: number | undefined;
  readonly objects: number;
  readonly isConnected: boolean;
  /** Why the last request failed, and how to fix it; undefined if it succeeded. */
  readonly trouble: string | undefined;
}
