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
 * Occurrences that a BPF program saw but could not count, by cause. Causes that cannot affect the probe are missing.
 */
export type Uncounted = Readonly<Partial<Record<'map_full' | 'untracked' | 'no_netns', Counter>>>;

/** Counts of a BPF program that no row of the page shows. */
export interface NotShown {
  /** Counts that belong to Pods and namespaces whose rows have been removed from the page. Never decreases. */
  readonly departed: Counter;
  /** Counts that belong to namespaces whose owner is still unknown and being searched for. */
  readonly waiting: Counter;
}
