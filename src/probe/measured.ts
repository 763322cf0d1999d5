/**
 * Cost of a probe, as `npm run bench` has measured it: the tables of bench/README.md and the costs in docs/probes.md are made from it. Fields
 * without a measurement stay undefined.
 */
export interface Measured {
  /** Wall-clock time of a scrape on a node of 110 Pods, by `npm run bench -- pods`. */
  readonly collect?: {
    readonly ms: number;
    /** Without the walks in the kernel. */
    readonly withoutMs?: number;
    readonly note?: string;
  };
  /** Name of the probe together with which it was measured, and whose `collect` has the figure. */
  readonly with?: string;
  /** CPU that a scrape takes by what is asked for, by `npm run bench -- processes`: 110 Pods of 20 processes of 50 descriptors, half of them sockets. */
  readonly processes?: readonly { readonly what: string; readonly ms: number }[];
  /** BPF programs, by `npm run bench:kernel` with events on at their default limit. */
  readonly programs?: {
    /** Nanoseconds a hit above an empty program by hook; a range where it depends on the packet. */
    readonly ns: Readonly<Record<string, string>>;
    readonly note?: string;
  };
  /** Sentences, for what fits no table. */
  readonly note?: string;
}
