import type { NetnsId } from '#core/netns.ts';
import { CONNTRACK_COUNTERS, type ConntrackCounter, type ConntrackCounters } from '../netlink/conntrack.ts';

/**
 * The kernel's per-CPU counters have 32 bits and wrap around (kernel: include/linux/netfilter/nf_conntrack_common.h,
 * struct ip_conntrack_stat).
 */
const WRAP = 2 ** 32;

type Counters = Partial<Record<ConntrackCounter, number>>;

/** Counters of a namespace: as last read, and extended beyond 32 bits. */
interface Wide {
  readonly read: Counters;
  readonly shown: Counters;
}

/**
 * Extends counters beyond 32 bits. When a CPU's counter wraps around, the sum over all CPUs decreases by 2^32. Modulo
 * 2^32, the sum still increases by the right amount, so the individual counters are not needed. The first values of a
 * namespace are returned unchanged, even after a restart of the agent, because the kernel does not record earlier
 * wraparounds.
 */
export class WideCounters {
  readonly #namespaces = new Map<NetnsId, Wide>();

  /**
   * Must be called right after each reading, so that readings are processed in order.
   * @param sums sums over all possible CPUs
   * @returns the extended counters; the next call for the namespace updates the same object
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

  /**
   * Returns whether there are counters for the namespace. Namespaces with counters that have always been 0 need none.
   */
  knows(id: NetnsId): boolean {
    return this.#namespaces.has(id);
  }

  sweep(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#namespaces.keys()) if (isDead(id)) this.#namespaces.delete(id);
  }
}
