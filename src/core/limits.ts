/** Thresholds of a value. Above `notice`, dashboards show a warning. Above `alert`, an alert fires if the value stays there. */
export interface Limit {
  readonly notice: number;
  readonly alert: number;
}

/** Events per second per Pod. A few are normal: network policies, port scans, clients that give up. */
export const LOSS: Limit = { notice: 1, alert: 10 };
export const RESETS: Limit = { notice: 1, alert: 5 };
/** Ratio of sent segments. A healthy network within a cluster stays below 0.1 %; from 1 % on, throughput suffers. */
export const RETRANSMITTED: Limit = { notice: 0.01, alert: 0.05 };
/** Retransmissions per second below which the ratio means nothing. */
export const RETRANSMITS_LEAST = 1;
/** Ratio of opened connections, and failures per second below which the ratio means nothing. */
export const FAILED_CONNECTS: Limit = { notice: 0.05, alert: 0.2 };
export const FAILED_CONNECTS_LEAST = 0.2;
/** Ratio of used table entries. A full table accepts no new connections. */
export const CONNTRACK: Limit = { notice: 0.8, alert: 0.95 };
