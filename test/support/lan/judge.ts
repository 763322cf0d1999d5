import type { EventRecord } from '#api/events.ts';
import type { Watch } from './watch.ts';

const DSACKS = 'netsonde_tcp_dsacks_received_total';

/**
 * Says which warnings count. On a machine with much else to do segments wait, and overtake each other where a process moves to another CPU:
 * the sender then sends again what is not lost. That is excused where the other end has said that it got data twice (DSACK): each namespace
 * has as many free as there are such answers. Some of them are for loss probes. Those are not subtracted: a probe whose connection has closed
 * meanwhile has no answer, and took the one of another retransmission.
 */
export class Judge {
  readonly #watch: Watch;
  readonly #excused = new Map<string, number>();
  #seen = 0;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** How many times TCP has sent again, needlessly, by namespace. */
  get excused(): Record<string, number> {
    return Object.fromEntries(this.#excused);
  }

  /** @returns warnings since the last time, without what was needless in namespaces where none is expected */
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
