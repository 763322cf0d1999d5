/**
 * Cost of a probe as measured by `npm run bench`. The tables of bench/README.md and the costs in docs/probes.md are
 * generated from it. Fields without a measurement are undefined.
 */
export interface Measured {
  /** Wall-clock time of a scrape on a node with 110 Pods, measured by `npm run bench -- pods`. */
  readonly collect?: {
    readonly ms: number;
    /** Time without the walks in the kernel. */
    readonly withoutMs?: number;
    readonly note?: string;
  };
  /** Name of another probe that was measured together with this one and has the result in its `collect`. */
  readonly with?: string;
  /**
   * CPU time of a scrape by collected data, measured by `npm run bench -- processes` with 110 Pods of 20 processes.
   * Each process has 50 descriptors, half of which are sockets.
   */
  readonly processes?: readonly { readonly what: string; readonly ms: number }[];
  /** Cost of the BPF programs, measured by `npm run bench:kernel` with events enabled at the default limit. */
  readonly programs?: {
    /** Nanoseconds per hit beyond the cost of an empty program, by hook. A range if the cost depends on the packet. */
    readonly ns: Readonly<Record<string, string>>;
    readonly note?: string;
  };
  /** Further results, in full sentences. */
  readonly note?: string;
}
