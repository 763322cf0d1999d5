import { type Counter, subtractCounters } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import { fullness, type Listener } from '#sources/sockets/snapshot.ts';

/** Counters of a namespace. They cover all of its listening sockets, including closed ones. */
export interface ListenCounts {
  /** TcpExt ListenOverflows: connections refused because an accept queue was full. */
  readonly overflows: Counter;
  /** TcpExt ListenDrops: connections refused for any reason, including overflows. */
  readonly drops: Counter;
}

/** An address and port in a namespace whose accept queue was full. */
export interface FullQueue {
  /** The socket with the fullest queue among those that refused connections. */
  readonly listener: Listener;
  /** Number of sockets that refused connections. Several sockets can listen on the same port. */
  readonly sockets: number;
  /**
   * Number of segments that these sockets have refused since their last event, or since the last check without
   * refusals.
   */
  readonly refused: number;
  readonly seconds: number;
}

export interface FullQueues {
  readonly full: readonly FullQueue[];
  /** Number of full queues that exceed the limit of their namespace. Their refusals are included in the next event. */
  readonly limited: number;
}

interface Baseline {
  readonly netns: NetnsId;
  readonly port: number;
  readonly drops: number;
  readonly atMs: number;
}

/** Counters of a namespace, and the drops of each of its sockets shortly before they were read. */
interface Reading extends ListenCounts {
  readonly dropsOf: ReadonlyMap<string, number>;
}

/** Number of overflows of a namespace, and the drops of its sockets when it began to count. */
interface Overflows {
  readonly count: Counter;
  readonly dropsBefore: ReadonlyMap<string, number>;
}

const NO_OVERFLOWS: Overflows = { count: 0, dropsBefore: new Map() };

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

/** Maximum number of full queues per namespace that a check reports. It is lower than any `limit`. */
const QUEUES_MAX = 16;
/**
 * Number of stored readings of a namespace's counters. Two are needed because the counters may change between the walk
 * over the sockets and the reading that follows it.
 */
const READINGS = 2;

/**
 * Finds listening sockets whose accept queue has been full since the last check. The kernel counts the drops of each
 * socket (tcp_listendrop()), including drops for less common reasons such as a lack of memory. A queue with new drops
 * was full if it is full now, or if its namespace has counted more overflows in the meantime than the queues that are
 * full now explain. Queues that are merely busy, or that fill up and are emptied without a drop, are not reported.
 */
export class AcceptQueueWatch {
  #baselines: ReadonlyMap<string, Baseline> = new Map();
  /** Stored readings by namespace, oldest first. */
  readonly #readings = new Map<NetnsId, readonly Reading[]>();
  #lookedMs: number | undefined;

  /**
   * Returns the queues that have been full since the last check.
   * @param listeners sockets that have ever dropped a connection
   * @param countsOf reads the counters of a namespace after the sockets were read; undefined if they cannot be read
   * @param nowMs milliseconds of a monotonic clock
   */
  look(listeners: readonly Listener[], countsOf: (id: NetnsId) => ListenCounts | undefined, nowMs: number): FullQueues {
    const byNetns = Map.groupBy(listeners, ({ netns }) => netns);
    const baselines = new Map<string, Baseline>();
    const full: FullQueue[] = [];
    let limited = 0;
    for (const [netns, own] of byNetns) {
      const grown = own.map((listener) => this.#growthOf(listener, nowMs));
      const { told, left } = judge(grown, this.#overflowsOf(netns, grown, countsOf));
      for (const growth of grown) baselines.set(growth.listener.key, baselineAt(growth.listener, nowMs));
      // If a queue is not reported now, its refusals are included in a later report.
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
   * appears after the first check, all drops count.
   */
  #baselineOf({ key, netns, port, drops }: Listener, nowMs: number): Baseline {
    const known = this.#baselines.get(key);
    // Another socket may have reused the key, or the counter may have wrapped.
    if (known !== undefined && known.netns === netns && known.port === port && known.drops <= drops) return known;
    const isFirst = this.#lookedMs === undefined;
    return { netns, port, drops: isFirst ? drops : 0, atMs: this.#lookedMs ?? nowMs };
  }

  /**
   * Returns the overflows that the namespace has counted since the oldest stored reading. Returns undefined if this can
   * only be determined at the next check.
   */
  #overflowsOf(
    netns: NetnsId,
    grown: readonly Growth[],
    countsOf: (id: NetnsId) => ListenCounts | undefined,
  ): Overflows | undefined {
    const known = this.#readings.get(netns);
    if (known !== undefined && grown.every(({ refused }) => refused === 0)) return NO_OVERFLOWS;
    const counts = countsOf(netns);
    if (counts === undefined) return NO_OVERFLOWS;
    const reading = { ...counts, dropsOf: new Map(grown.map(({ listener: { key, drops } }) => [key, drops])) };
    const readings = known ?? (this.#lookedMs === undefined ? [reading] : []);
    this.#readings.set(netns, [...readings, reading].slice(-READINGS));
    const [first] = readings;
    if (first !== undefined && readings.length === READINGS)
      return { count: subtractCounters(counts.overflows, first.overflows), dropsBefore: first.dropsOf };
    // If the namespace has counted as many drops as its existing sockets, none of its overflows comes from a closed
    // socket. At the check before last, no existing socket had any drops, so all overflows have occurred since then.
    const drops = grown.reduce((sum, { listener }) => sum + listener.drops, 0);
    if (counts.overflows > 0 && counts.drops === drops) return { count: counts.overflows, dropsBefore: new Map() };
    return counts.overflows === 0 ? NO_OVERFLOWS : undefined;
  }
}

/** Returns the queues that were full, and those for which the next check has to decide. */
function judge(grown: readonly Growth[], overflows: Overflows | undefined): { told: Growth[]; left: Growth[] } {
  const refusing = grown.filter(({ refused }) => refused > 0);
  const full = refusing.filter(({ listener }) => fullness(listener) >= 1);
  if (overflows === undefined) return { told: full, left: grown.filter((growth) => !full.includes(growth)) };
  // The drops of the others may have any reason, so they need overflows that no full queue explains.
  const explained = full.reduce(
    (sum, { listener: { key, drops } }) => sum + Math.max(0, drops - (overflows.dropsBefore.get(key) ?? 0)),
    0,
  );
  return { told: overflows.count > explained ? refusing : full, left: [] };
}

/** Describes a full queue for operators. */
export function describeFullQueue({ listener, sockets, refused, seconds }: FullQueue): string {
  const { address, port, length, limit } = listener;
  const endpoint = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const where = sockets === 1 ? '' : ` at the fullest of ${sockets} sockets`;
  return `The accept queue of ${endpoint} was full: in the last ${seconds} s, ${refused} segments of new connections were dropped. Now ${length} connections wait to be accepted${where}; the limit is ${limit}.`;
}
