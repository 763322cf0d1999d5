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
 * Retransmitted segments as a fraction of the sent segments. In a healthy cluster network, it stays below 0.1 %.
 * Throughput suffers when it exceeds 1 %.
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
/**
 * Mean round-trip time of an edge in seconds. It includes delayed acknowledgements, which usually take up to 40 ms
 * (kernel: include/net/tcp.h, TCP_DELACK_MIN). No alert exists, because some peers are far away.
 */
export const ROUND_TRIP: Limit = { notice: 0.1, alert: Number.POSITIVE_INFINITY };
/** Like {@link ROUND_TRIP}, but for peers with public addresses, which may be on another continent. */
export const ROUND_TRIP_FAR: Limit = { notice: 0.5, alert: Number.POSITIVE_INFINITY };
/** Failed requests of an edge as a fraction of its requests, and the number per minute below which it is never bad. */
export const REQUEST_ERRORS: Limit = { notice: 0.01, alert: 0.05 };
export const REQUEST_ERRORS_LEAST = 3;
/** 99th percentile of the time to the answer in seconds. No alert exists, because some requests wait on purpose. */
export const REQUEST_TIME: Limit = { notice: 1, alert: Number.POSITIVE_INFINITY };
/**
 * Requests that were answered, but not with what was asked for, as a fraction. Search lists ask for many names that do
 * not exist, so only an edge without success is worth a look.
 */
export const DECLINED: Limit = { notice: 0.95, alert: Number.POSITIVE_INFINITY };
export const DECLINED_LEAST = 5;
/** Minimum numbers of failed connections and of retransmitted segments per minute for an edge to be marked as bad. */
export const EDGE_FAILURES_LEAST = 3;
export const EDGE_RETRANSMITS_LEAST = 5;
