import type { EventRecord } from '#api/events.ts';
import type { Watch } from './watch.ts';

const DSACKS = 'netsonde_tcp_dsacks_received_total';

/**
 * Says which warnings count. A retransmission timeout on a machine with much else to do is no loss where the other end has said that it got
 * the data twice (DSACK): each namespace has as many free as it got of these.
 */
export class Judge {
  readonly #watch: Watch;
  readonly #excused = new Map<string, number>();
  #seen = 0;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** @returns warnings since the last time, without timeouts that were needless in namespaces where none is expected */
  next(expectedIn: ReadonlySet<string> = new Set()): EventRecord[] {
    const { warnings } = this.#watch;
    const needless = this.#watch.totals(DSACKS, 'pod');
    const fresh = warnings.slice(this.#seen);
    this.#seen = warnings.length;
    return fresh.filter((event) => {
      const { pod, type, count = 1 } = event;
      if (type !== 'tcp_retransmit' || !('kind' in event) || event['kind'] !== 'rto') return true;
      if (pod === null || expectedIn.has(pod)) return true;
      const excused = (this.#excused.get(pod) ?? 0) + count;
      this.#excused.set(pod, excused);
      return excused > (needless[pod] ?? 0);
    });
  }
}
