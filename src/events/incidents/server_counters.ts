import type { IncidentCause } from '#api/words.ts';
import { RateBuckets } from '#core/rate_buckets.ts';

/** Counters of the server's network namespace that tell why a SYN got no answer. */
export interface ServerCounters {
  /** TcpExt.ListenOverflows: SYNs and connections that were dropped because the accept queue was full. */
  readonly overflows: number;
  /** TcpExt.ListenDrops: all SYNs and connections that listening sockets dropped. Includes `overflows`. */
  readonly drops: number;
  /** Ip.OutNoRoutes and Ip6.OutNoRoutes: packets for whose destination there was no route. */
  readonly noRoutes: number;
}

/** Reads the counters of the owner of an address; undefined if the owner is unknown or is not on this node. */
export type ReadCounters = (address: string) => Promise<ServerCounters | undefined>;

/** Maximum number of readings per second, and twice as many in a burst. */
const READS_PER_SECOND = 20;
/**
 * Times in milliseconds after the start of an incident at which the counters are read. A SYN is sent again 1, 3, 7 and
 * 15 s after it was sent first, or after each of the first seconds since Linux 6.5 (tcp_syn_linear_timeouts).
 */
const READ_AFTER_MS = [0, 1_000, 2_500, 6_500, 14_500];
/** Age in milliseconds up to which the incidents of a server share a reading. */
const SHARED_MS = 250;
/** Number of readings without an answer after which the server counts as one of another node. */
const UNKNOWN_MAX = 2;
const SERVERS_MAX = 1_000;

interface Reading {
  readonly atMs: number;
  readonly counters: Promise<ServerCounters | undefined>;
}

/** Reads the counters of servers, at a bounded rate. Incidents of the same server share readings. */
export class CounterReader {
  readonly #read: ReadCounters;
  readonly #now: () => number;
  readonly #rate: RateBuckets;
  readonly #readings = new Map<string, Reading>();

  constructor(read: ReadCounters, now: () => number) {
    this.#read = read;
    this.#now = now;
    this.#rate = new RateBuckets(READS_PER_SECOND, now);
  }

  /** Returns undefined if there are too many readings at the moment. */
  read(server: string): Promise<ServerCounters | undefined> | undefined {
    const now = this.#now();
    const known = this.#readings.get(server);
    if (known !== undefined && now - known.atMs < SHARED_MS) return known.counters;
    if (!this.#rate.admit('')) return undefined;
    if (this.#readings.size >= SERVERS_MAX) this.#readings.clear();
    // Without an answer, for example while the kernel thread is being replaced, nothing is known.
    const counters = this.#read(server).catch(() => undefined);
    this.#readings.set(server, { atMs: now, counters });
    return counters;
  }
}

/**
 * Looks for the cause of missing answers in the server's counters: reads them when the first answer is missing, and
 * again when the client has sent further SYNs. The cause is known once a counter has grown in between.
 */
export class CounterCheck {
  readonly #reader: CounterReader;
  readonly #server: string;
  readonly #openedMs: number;
  #before: ServerCounters | undefined;
  #cause: IncidentCause | undefined;
  #reads = 0;
  #isReading = false;

  /** @param openedMs when the incident began */
  constructor(reader: CounterReader, server: string, openedMs: number) {
    this.#reader = reader;
    this.#server = server;
    this.#openedMs = openedMs;
  }

  /** Cause according to the counters; undefined if there is none yet. */
  get cause(): IncidentCause | undefined {
    return this.#cause;
  }

  /** Whether another reading may show the cause. */
  get isPending(): boolean {
    if (this.#isReading) return true;
    const isRemote = this.#before === undefined && this.#reads >= UNKNOWN_MAX;
    return this.#cause === undefined && !isRemote && this.#reads < READ_AFTER_MS.length;
  }

  /** Reads the counters if it is time to. */
  update(now: number): void {
    const dueMs = READ_AFTER_MS[this.#reads];
    if (this.#isReading || !this.isPending || dueMs === undefined || now - this.#openedMs < dueMs) return;
    const reading = this.#reader.read(this.#server);
    if (reading === undefined) return;
    this.#reads++;
    this.#isReading = true;
    void reading.then((counters) => {
      this.#isReading = false;
      if (counters === undefined) return;
      if (this.#before === undefined) this.#before = counters;
      else this.#cause = causeOfGrowth(this.#before, counters);
    });
  }
}

/**
 * Returns the cause that the growth of the counters shows. A listening socket without a route to the client counts the
 * SYN as dropped, and the missing route as well. Kernel: net/ipv4/tcp_input.c, tcp_conn_request().
 */
function causeOfGrowth(before: ServerCounters, after: ServerCounters): IncidentCause | undefined {
  const overflows = after.overflows - before.overflows;
  if (overflows > 0) return 'accept_queue';
  return after.noRoutes > before.noRoutes && after.drops - before.drops > overflows ? 'route' : undefined;
}
