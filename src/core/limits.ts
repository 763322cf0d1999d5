/** `notice`: worth a look, and a warning on a dashboard. `alert`: somebody is told, where it lasts. */
export interface Limit {
  readonly notice: number;
  readonly alert: number;
}

/** A second, of one Pod. A few are everywhere: policies that work, scans, clients that give up. */
export const LOSS: Limit = { notice: 1, alert: 10 };
export const RESETS: Limit = { notice: 1, alert: 5 };
/** Of the segments sent. A healthy network inside a cluster stays below 0.1 %; from 1 % on throughput suffers. */
export const RETRANSMITTED: Limit = { notice: 0.01, alert: 0.05 };
/** Below so many a second a share says nothing. */
export const RETRANSMITS_LEAST = 1;
/** Of the connections opened, and at least so many a second. */
export const FAILED_CONNECTS: Limit = { notice: 0.05, alert: 0.2 };
export const FAILED_CONNECTS_LEAST = 0.2;
/** Of the table. What is full takes no new connection. */
export const CONNTRACK: Limit = { notice: 0.8, alert: 0.95 };
