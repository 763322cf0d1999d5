import type { NetnsId } from '#core/netns.ts';
import { CONNTRACK_COUNTERS, type ConntrackCounter, type ConntrackCounters } from '../netlink/conntrack.ts';

/** The share of a CPU has 32 bits, and wraps (kernel: include/linux/netfilter/nf_conntrack_common.h, struct ip_conntrack_stat). */
const WRAP = 2 ** 32;

type Counters = Partial<Record<ConntrackCounter, number>>;

/** Counters of a namespace as last read, and the values that are shown for them. */
interface Wide {
  readonly read: Counters;
  readonly shown: Counters;
}

/**
 * Counters that go on where a CPU's share wraps: the sum of the shares then falls by 2^32. Modulo 2^32 the sum has grown by as much as
 * all shares together, so no share needs to be known. A new namespace is shown as it is, and so are all namespaces after a restart of
 * the agent: the kernel keeps no record of earlier wraps.
 */
export class WideCounters {
  readonly #namespaces = new Map<NetnsId, Wide>();

  /**
   * To be called right after each reading, so that readings come in order.
   * @param sums sums over all possible CPUs
   * @returns the values to show; the next call for the namespace changes them
   */
  widen(id: NetnsId, sums: ConntrackCounters): ConntrackCounters {
    let wide = this.#namespaces.get(id);
    if (wide === undefined) {
      wide = { read: {}, shown: {} };
      this.#namespaces.set(id, wide);
    }
    for (const name of CONNTRACK_COUNTERS) {
      const read = sums[name];
      if (read === undefined) continue;
      const grown = (((read - (wide.read[name] ?? read)) % WRAP) + WRAP) % WRAP;
      wide.shown[name] = (wide.shown[name] ?? read) + grown;
      wide.read[name] = read;
    }
    return wide.shown;
  }

  /** A namespace whose counters were 0 at every reading need not be stored. */
  knows(id: NetnsId): boolean {
    return this.#namespaces.has(id);
  }

  sweep(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#namespaces.keys()) if (isDead(id)) this.#namespaces.delete(id);
  }
}
