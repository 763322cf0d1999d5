import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import { fullness, type Listener } from '#sources/sockets/snapshot.ts';

/** Counters of a namespace for all of its listening sockets, including closed ones. */
export interface ListenCounts {
  /** TcpExt ListenOverflows: connections refused because an accept queue was full. */
  readonly overflows: Counter;
  /** TcpExt ListenDrops: connections refused for any reason, including overflows. */
  readonly drops: Counter;
}

/** An address and port of a namespace whose accept queue was full. */
export interface FullQueue {
  /** Fullest socket that refused connections. */
  readonly listener: Listener;
  /** Number of sockets that refused connections. Several sockets may listen on the port. */
  readonly sockets: number;
  /** Segments refused by all of these sockets since their last event, or since the last check without refusals. */
  readonly refused: number;
  readonly seconds: number;
}

export interface FullQueues {
  readonly full: readonly FullQueue[];
  /** Number of full queues beyond the limit of their namespace. Their refusals are included in the next event. */
  readonly limited: number;
}

interface Baseline {
  readonly netns: NetnsId;
  readonly port: number;
  readonly drops: number;
  readonly atMs: number;
}

interface Growth {
  readonly listener: Listener;
  readonly before: Baseline;
  readonly refused: number;
}

function baselineAt({ netns, port, drops }: Listener, atMs: number): Baseline {
  return { netns, port, drops, atMs };
}

function fullQueueOf(sockets: readonly Growth[], nowMs: number): FullQueue {
  const [fullest] = sockets.toSorted((a, b) => fullness(b.listener) - fullness(a.listener)) as [Growth];
  const sinceMs = Math.min(...sockets.map(({ before }) => before.atMs));
  return {
    listener: fullest.listener,
    sockets: sockets.length,
    refused: sockets.reduce((sum, { refused }) => sum + refused, 0),
    seconds: Math.round((nowMs - sinceMs) / 1_000),
  };
}

/** Maximum number of full queues that a check reports per namespace. It is lower than any `limit`. */
const QUEUES_MAX = 16;
/**
 * Number of stored readings of a namespace's counts. Two are needed because counts may change between the walk over the
 * sockets and the reading that follows the walk.
 */
const READINGS = 2;

/**
 * Finds listening sockets whose accept queue was full since the last check. The kernel counts the drops of each socket
 * (tcp_listendrop()), including drops for rarer reasons such as a memory shortage. A queue with new drops was full if
 * it is full now, or if its namespace has counted overflows since. Queues that are busy, or that fill and empty without
 * a drop, are not reported.
 */
export class AcceptQueueWatch {
  #baselines: ReadonlyMap<string, Baseline> = new Map();
  /** Stored readings, the oldest first. */
  readonly #readings = new Map<NetnsId, readonly ListenCounts[]>();
  #lookedMs: number | undefined;

  /**
   * @param listeners sockets that have ever dropped a connection
   * @param countsOf reads the counts of a namespace after the sockets were read; undefined if they cannot be read
   * @param nowMs time of a monotonic clock
   */
  look(listeners: readonly Listener[], countsOf: (id: NetnsId) => ListenCounts | undefined, nowMs: number): FullQueues {
    const byNetns = Map.groupBy(listeners, ({ netns }) => netns);
    const baselines = new Map<string, Baseline>();
    const full: FullQueue[] = [];
    let limited = 0;
    for (const [netns, own] of byNetns) {
      const grown = own.map((listener) => this.#growthOf(listener, nowMs));
      const { told, left } = judge(grown, this.#hasOverflowed(netns, grown, countsOf));
      for (const growth of grown) baselines.set(growth.listener.key, baselineAt(growth.listener, nowMs));
      // Refusals of a queue that is not reported now are included in a later report.
      for (const { listener, before } of left) baselines.set(listener.key, before);
      const places = [...Map.groupBy(told, ({ listener }) => `${listener.port} ${listener.address}`).values()];
      full.push(...places.slice(0, QUEUES_MAX).map((sockets) => fullQueueOf(sockets, nowMs)));
      for (const { listener, before } of places.slice(QUEUES_MAX).flat()) baselines.set(listener.key, before);
      limited += Math.max(0, places.length - QUEUES_MAX);
    }
    for (const netns of this.#readings.keys()) if (!byNetns.has(netns)) this.#readings.delete(netns);
    this.#baselines = baselines;
    this.#lookedMs = nowMs;
    return { full, limited };
  }

  #growthOf(listener: Listener, nowMs: number): Growth {
    const before = this.#baselineOf(listener, nowMs);
    return { listener, before, refused: listener.drops - before.drops };
  }

  /**
   * Returns the state from which drops are counted. Drops before the first check are not reported. For a socket that
   * appears later, all drops count.
   */
  #baselineOf({ key, netns, port, drops }: Listener, nowMs: number): Baseline {
    const known = this.#baselines.get(key);
    // Another socket may have reused the key, or the counter may have wrapped.
    if (known !== undefined && known.netns === netns && known.port === port && known.drops <= drops) return known;
    const isFirst = this.#lookedMs === undefined;
    return { netns, port, drops: isFirst ? drops : 0, atMs: this.#lookedMs ?? nowMs };
  }

  /**
   * Returns whether the namespace has counted an overflow since the oldest stored reading; undefined if only the next
   * check can decide.
   */
  #hasOverflowed(
    netns: NetnsId,
    grown: readonly Growth[],
    countsOf: (id: NetnsId) => ListenCounts | undefined,
  ): boolean | undefined {
    const known = this.#readings.get(netns);
    if (known !== undefined && grown.every(({ refused }) => refused === 0)) return false;
    const counts = countsOf(netns);
    if (counts === undefined) return false;
    const readings = known ?? (this.#lookedMs === undefined ? [counts] : []);
    this.#readings.set(netns, [...readings, counts].slice(-READINGS));
    const [first] = readings;
    if (first !== undefined && readings.length === READINGS) return counts.overflows > first.overflows;
    // If the numbers are equal, all drops of the namespace come from existing sockets and happened after the check
    // before last.
    const drops = grown.reduce((sum, { listener }) => sum + listener.drops, 0);
    if (counts.overflows > 0 && counts.drops === drops) return true;
    return counts.overflows === 0 ? false : undefined;
  }
}

/** Returns the queues that were full, and the queues that the next check must decide. */
function judge(grown: readonly Growth[], hasOverflowed: boolean | undefined): { told: Growth[]; left: Growth[] } {
  const told = grown.filter(({ refused, listener }) => refused > 0 && (hasOverflowed || fullness(listener) >= 1));
  return { told, left: hasOverflowed === undefined ? grown.filter((growth) => !told.includes(growth)) : [] };
}

/** Describes a full queue in a sentence for operators. */
export function describeFullQueue({ listener, sockets, refused, seconds }: FullQueue): string {
  const { address, port, length, limit } = listener;
  const endpoint = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const where = sockets === 1 ? '' : ` at the fullest of ${sockets} sockets`;
  return `The accept queue of ${endpoint} was full: in the last ${seconds} s, ${refused} segments of new connections were dropped. Now ${length} connections wait to be accepted${where}; the limit is ${limit}.`;
}
