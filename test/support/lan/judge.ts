import type { EventRecord } from '#api/events.ts';
import type { Watch } from './watch.ts';

const DSACKS = 'netsonde_tcp_dsacks_received_total';

/**
 * Decides which warnings count. On a busy machine segments wait, and overtake each other where a process moves to another CPU:
 * the sender then retransmits segments that are not lost. Such a retransmission is excused where the other end has reported duplicate data
 * (DSACK): each namespace may have as many as there are such reports. Some reports are for loss probes. Those are not subtracted: a probe
 * whose connection has closed meanwhile gets no report, and would use up the one of another retransmission.
 */
export class Judge {
  readonly #watch: Watch;
  readonly #excused = new Map<string, number>();
  #seen = 0;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** Number of needless retransmissions, by namespace. */
  get excused(): Record<string, number> {
    return Object.fromEntries(this.#excused);
  }

  /** @returns warnings since the last call, without needless retransmissions in namespaces where none is expected */
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
