import type { NetnsId } from '#core/netns.ts';
import type { ConntrackCounters, TableEntry } from '../netlink/conntrack.ts';

export interface ConntrackRow {
  readonly id: NetnsId;
  /** Number of connections that are currently tracked. */
  readonly entries: number;
  readonly counters: ConntrackCounters;
}

export interface ConntrackSnapshot {
  readonly rows: readonly ConntrackRow[];
  /**
   * net.netfilter.nf_conntrack_max. The setting is global, but limits each namespace separately. 0 means no limit;
   * undefined means that the kernel does not report it.
   */
  readonly limit: number | undefined;
}

export interface StateCount extends TableEntry {
  count: number;
}
