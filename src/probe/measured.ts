/**
 * Cost of a probe, measured by `npm run bench`. The tables in bench/README.md and the costs in docs/probes.md are
 * generated from it. A field is undefined if it was not measured.
 */
export interface Measured {
  /** Wall-clock time of a scrape on a node with 110 Pods, measured by `npm run bench -- pods`. */
  readonly collect?: {
    readonly ms: number;
    /** Time without the walks over kernel structures. */
    readonly withoutMs?: number;
    readonly note?: string;
  };
  /** Name of the other probe that was measured together with this one. Its `collect` contains the result. */
  readonly with?: string;
  /**
   * CPU time of a scrape for each kind of collected data, measured by `npm run bench -- processes` with 110 Pods of 20
   * processes. Each process has 50 descriptors, half of which are sockets.
   */
  readonly processes?: readonly { readonly what: string; readonly ms: number }[];
  /** Cost of the BPF programs, measured by `npm run bench:kernel` with events enabled at the default limit. */
  readonly programs?: {
    /**
     * Nanoseconds per run in excess of the cost of an empty program, by hook. The value is a range if the cost depends
     * on the packet.
     */
    readonly ns: Readonly<Record<string, string>>;
    readonly note?: string;
  };
  /** Additional results, in full sentences. */
  readonly note?: string;
}
