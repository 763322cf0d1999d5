import type { Counter } from '#core/counter.ts';

export interface ProgramStatus {
  readonly name: string;
  /** Hook to which the program is attached, for example `tp_btf/kfree_skb`. */
  readonly hook: string;
  readonly id: number;
  readonly runs: bigint;
  readonly runSeconds: number;
  readonly missed: bigint;
}

/** Event counts since the agent started, including earlier runs of the probe. */
export interface KernelLedger {
  readonly produced: bigint;
  readonly limited: bigint;
  readonly lost: bigint;
}

/**
 * Number of occurrences that a BPF program observed but could not count, by cause. Causes that do not apply to the
 * probe are absent.
 */
export type Uncounted = Readonly<Partial<Record<'map_full' | 'untracked' | 'no_netns', Counter>>>;

/** Counts of a BPF program that are not in any row of the page. */
export interface NotShown {
  /** Total of the counts of Pods and namespaces that are no longer exported. Never decreases. */
  readonly departed: Counter;
  /** Counts of namespaces whose owner is not known yet. */
  readonly waiting: Counter;
}
