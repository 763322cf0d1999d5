import type { EventRecord } from '#api/events.ts';
import type { Watch } from './watch.ts';

const DSACKS = 'netsonde_tcp_dsacks_received_total';

/**
 * Decides which warnings are failures. On a busy machine, segments are delayed, and may be reordered when a process
 * moves to another CPU. TCP then retransmits segments that were not lost. Such a retransmission is excused if the
 * receiver reported duplicate data (DSACK). The number of excused retransmissions in a namespace is limited to its
 * number of DSACKs. Some DSACKs are responses to loss probes. The number of loss probes is not subtracted, because no
 * DSACK is sent for a probe if the connection is closed before the response.
 */
export class Judge {
  readonly #watch: Watch;
  readonly #excused = new Map<string, number>();
  #seen = 0;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** Number of excused retransmissions by namespace. */
  get excused(): Record<string, number> {
    return Object.fromEntries(this.#excused);
  }

  /**
   * @returns warnings since the previous call, excluding excused retransmissions in namespaces that are not in
   * `expectedIn`
   */
  next(expectedIn: ReadonlySet<string> = new Set()): EventRecord[] {
    const { warnings } = this.#watch;
    const doubled = this.#watch.totals(DSACKS, 'pod');
    const fresh = warnings.slice(this.#seen);
    this.#seen = warnings.length;
    return fresh.filter((event) => {
      const { pod, type, count = 1 } = event;
      const kind = 'kind' in event ? event['kind'] : undefined;
      if (type !== 'tcp_retransmit' || (kind !== 'rto' && kind !== 'fast')) return true;
      if (pod === null || expectedIn.has(pod)) return true;
      const excused = (this.#excused.get(pod) ?? 0) + count;
      if (excused > (doubled[pod] ?? 0)) return true;
      this.#excused.set(pod, excused);
      return false;
    });
  }
}
