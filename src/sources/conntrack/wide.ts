import type { NetnsId } from '#core/netns.ts';
import { CONNTRACK_COUNTERS, type ConntrackCounter, type ConntrackCounters } from '../netlink/conntrack.ts';

/** The share of a CPU has 32 bits, and wraps (kernel: include/linux/netfilter/nf_conntrack_common.h, struct ip_conntrack_stat). */
const WRAP = 2 ** 32;

/** A counter as it was read last, and what is shown for it. */
interface Wide {
  read: number;
  shown: number;
}

/**
 * Counters that go on where a CPU's share wraps: the sum of the shares then falls by 2^32. Modulo 2^32 the sum has grown by what all
 * shares together have, so no share needs to be known. A namespace that is new is shown as it is, and so are all
 * after a restart of the agent: what had wrapped by then is in no number of the kernel.
 */
export class WideCounters {
  readonly #namespaces = new Map<NetnsId, Map<ConntrackCounter, Wide>>();

  /** To be called at once with what was read, so that readings come in their order. @param sums over all possible CPUs */
  widen(id: NetnsId, sums: ConntrackCounters): ConntrackCounters {
    let wide = this.#namespaces.get(id);
    if (wide === undefined) {
      wide = new Map();
      this.#namespaces.set(id, wide);
    }
    const shown: Partial<Record<ConntrackCounter, number>> = {};
    for (const name of CONNTRACK_COUNTERS) {
      const read = sums[name];
      if (read === undefined) continue;
      const last = wide.get(name) ?? { read, shown: read };
      const grown = (((read - last.read) % WRAP) + WRAP) % WRAP;
      shown[name] = last.shown + grown;
      wide.set(name, { read, shown: last.shown + grown });
    }
    return shown;
  }

  sweep(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#namespaces.keys()) if (isDead(id)) this.#namespaces.delete(id);
  }
}
