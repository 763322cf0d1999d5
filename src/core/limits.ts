/**
 * Thresholds of a value. Above `notice`, dashboards show a warning. An alert fires if the value stays above `alert`.
 */
export interface Limit {
  readonly notice: number;
  readonly alert: number;
}

/**
 * Losses and resets per second per Pod. A few are normal, for example because of network policies, port scans, and
 * clients that give up.
 */
export const LOSS: Limit = { notice: 1, alert: 10 };
export const RESETS: Limit = { notice: 1, alert: 5 };
/**
 * Retransmitted segments as a fraction of the sent segments. In a healthy cluster network, it stays below 0.1 %. From 1
 * % on, throughput suffers.
 */
export const RETRANSMITTED: Limit = { notice: 0.01, alert: 0.05 };
/** Number of retransmissions per second below which the fraction is not meaningful. */
export const RETRANSMITS_LEAST = 1;
/**
 * Failed connections as a fraction of the opened connections, and the number of failures per second below which the
 * fraction is not meaningful.
 */
export const FAILED_CONNECTS: Limit = { notice: 0.05, alert: 0.2 };
export const FAILED_CONNECTS_LEAST = 0.2;
/** Used entries as a fraction of the size of the connection tracking table. A full table accepts no new connections. */
export const CONNTRACK: Limit = { notice: 0.8, alert: 0.95 };
