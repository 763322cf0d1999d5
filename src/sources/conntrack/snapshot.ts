import type { NetnsId } from '#core/netns.ts';
import type { ConntrackCounters, TableEntry } from '../netlink/conntrack.ts';

export interface ConntrackRow {
  readonly id: NetnsId;
  /** Number of connections that are tracked now. */
  readonly entries: number;
  readonly counters: ConntrackCounters;
}

export interface ConntrackSnapshot {
  readonly rows: readonly ConntrackRow[];
  /**
   * net.netfilter.nf_conntrack_max: one number for the machine, which limits the entries of each namespace. 0: no limit. Undefined where
   * the kernel does not show it.
   */
  readonly limit: number | undefined;
}

export interface StateCount extends TableEntry {
  count: number;
}
