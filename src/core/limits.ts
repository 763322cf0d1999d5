/** Limits of a value. `notice`: worth a look, and a warning on a dashboard. `alert`: causes an alert, where it lasts. */
export interface Limit {
  readonly notice: number;
  readonly alert: number;
}

/** Events per second of one Pod. A few occur everywhere: working policies, scans, clients that give up. */
export const LOSS: Limit = { notice: 1, alert: 10 };
export const RESETS: Limit = { notice: 1, alert: 5 };
/** Share of the segments sent. A healthy network inside a cluster stays below 0.1 %; from 1 % on throughput suffers. */
export const RETRANSMITTED: Limit = { notice: 0.01, alert: 0.05 };
/** Least retransmissions per second for which the share is meaningful. */
export const RETRANSMITS_LEAST = 1;
/** Share of the connections opened, and the least failures per second. */
export const FAILED_CONNECTS: Limit = { notice: 0.05, alert: 0.2 };
export const FAILED_CONNECTS_LEAST = 0.2;
/** Share of the table. A full table accepts no new connection. */
export const CONNTRACK: Limit = { notice: 0.8, alert: 0.95 };
