import { join } from 'node:path';
import { BpfError } from 'bpf-napi';
import { type Cycle, freeCycle } from '../../collectors/cycle.ts';
import type { NetnsId } from '../../probes/metric.ts';
import { Unsupported } from '../../probes/probe.ts';
import type { NetlinkQuestion } from '../netlink/client.ts';
import {
  type ConntrackCounters,
  CPU_STATS_REQUEST,
  decodeCpuStats,
  decodeEntry,
  decodeGlobalStats,
  GLOBAL_STATS_REQUEST,
  type GlobalStats,
  TABLE_REQUEST,
  type TableEntry,
} from '../netlink/conntrack.ts';
import { decodeMessages } from '../netlink/message.ts';
import type { NetnsEntry } from '../netns.ts';
import { readText } from '../procfs/read.ts';
import type { Sources } from '../sources.ts';
import { ConntrackPass } from './pass.ts';

/** What the reader needs of all sources. */
export type ConntrackSources = Pick<Sources, 'paths' | 'netns' | 'netlink' | 'bpf' | 'cpus' | 'errors'>;

const NETLINK_NETFILTER = 12;

const CPU_STATS: NetlinkQuestion<ConntrackCounters> = {
  protocol: NETLINK_NETFILTER,
  what: 'conntrack stats',
  request: CPU_STATS_REQUEST,
  decode: (messages) => whole(decodeCpuStats(messages)),
};
const GLOBAL_STATS: NetlinkQuestion<GlobalStats> = {
  protocol: NETLINK_NETFILTER,
  what: 'conntrack count',
  request: GLOBAL_STATS_REQUEST,
  decode: (messages) => whole(decodeGlobalStats(messages)),
};
const TABLE = { protocol: NETLINK_NETFILTER, what: 'conntrack table', request: TABLE_REQUEST };

/** /proc/sys/net shows the namespace of who reads it; this file shows the machine's number in all of them. */
const LIMIT = 'sys/net/netfilter/nf_conntrack_max';

/** An entry takes 164 bytes at least, and with NAT, accounting and labels some 400. */
const ENTRY_BYTES_MAX = 1024;
/** Room for entries that came since they were counted. */
const ENTRIES_MORE = 10_000;
/** Some hundred microseconds of decoding. */
const ENTRIES_A_PIECE = 256;

const EPERM = 1;
const EINVAL = 22;
const EPROTONOSUPPORT = 93;
const EOPNOTSUPP = 95;

function whole<T>(decoded: T | undefined): T {
  if (decoded === undefined) throw new Error('the answer is cut or garbled');
  return decoded;
}

export interface ConntrackRow {
  readonly id: NetnsId;
  /** Connections that are tracked now. */
  readonly entries: number;
  readonly counters: ConntrackCounters;
}

export interface ConntrackSnapshot {
  readonly rows: readonly ConntrackRow[];
  /**
   * net.netfilter.nf_conntrack_max: one number for the machine, which the entries of each namespace are held against. 0: no
   * limit. Undefined where the kernel does not show it.
   */
  readonly limit: number | undefined;
}

export interface StateCount extends TableEntry {
  count: number;
}

/**
 * Connection tracking of every namespace: by one pass in the kernel where it can run, else by two netlink questions for
 * each namespace.
 */
export class ConntrackReader implements Disposable {
  readonly #sources: ConntrackSources;
  readonly #warn: (message: string) => void;
  #pass: ConntrackPass | undefined;
  /** Why ctnetlink cannot be asked, if so. */
  readonly refusal: string | undefined;

  private constructor(sources: ConntrackSources, warn: (message: string) => void, refusal: string | undefined) {
    this.#sources = sources;
    this.#warn = warn;
    this.refusal = refusal;
  }

  /**
   * @param warn told why the pass is not used
   * @throws {Unsupported} where there is no connection tracking, or no way to ask for it
   */
  static async open(sources: ConntrackSources, warn: (message: string) => void): Promise<ConntrackReader> {
    // First: the question makes the kernel load the modules, whose types the pass needs.
    const reader = new ConntrackReader(sources, warn, refusalOf(sources));
    try {
      reader.#pass = await ConntrackPass.open(sources.bpf, sources.cpus, sources.errors);
    } catch (error) {
      if (reader.refusal !== undefined) throw new Unsupported(reader.refusal);
      reader.#fallBack(error);
    }
    return reader;
  }

  get kind(): 'pass' | 'netlink' {
    return this.#pass === undefined ? 'netlink' : 'pass';
  }

  async read(cycle: Cycle): Promise<ConntrackSnapshot> {
    if (this.#pass !== undefined) {
      try {
        return { rows: await this.#pass.read(cycle), limit: this.#limit() };
      } catch (error) {
        cycle.signal.throwIfAborted();
        // Closed meanwhile.
        if (this.#pass === undefined) throw error;
        this[Symbol.dispose]();
        this.#fallBack(error);
      }
    }
    return this.#ask(cycle);
  }

  /**
   * How many entries of the table of a namespace there are of each kind. Takes the kernel 2 µs for each, off the event loop.
   * Undefined where the namespace is gone or the question failed, which is counted.
   */
  async states(entry: NetnsEntry, entries: number, cycle: Cycle): Promise<StateCount[] | undefined> {
    const bytesMax = (entries + ENTRIES_MORE) * ENTRY_BYTES_MAX;
    const messages = await this.#sources.netlink.askLong(entry, TABLE, bytesMax, cycle);
    if (messages === undefined) return undefined;
    const counts = new Map<string, StateCount>();
    let seen = 0;
    for (const message of decodeMessages(messages)) {
      const decoded = decodeEntry(message);
      if (decoded === undefined) this.#sources.errors.count('netlink', TABLE.what, 'an entry is cut or garbled');
      else count(counts, decoded);
      if (++seen % ENTRIES_A_PIECE === 0) await cycle.pause();
    }
    return [...counts.values()];
  }

  [Symbol.dispose](): void {
    this.#pass?.[Symbol.dispose]();
    this.#pass = undefined;
  }

  #fallBack(error: unknown): void {
    this.#warn(`each namespace is asked by netlink: ${(error as Error).message}`);
  }

  async #ask(cycle: Cycle): Promise<ConntrackSnapshot> {
    const { netns, netlink } = this.#sources;
    const rows: ConntrackRow[] = [];
    let limit: number | undefined;
    for (const entry of netns.snapshot()) {
      const stats = netlink.ask(entry, GLOBAL_STATS, cycle);
      const counters = stats && netlink.ask(entry, CPU_STATS, cycle);
      if (counters !== undefined) {
        limit = stats?.limit;
        rows.push({ id: entry.id, entries: stats?.entries ?? 0, counters });
      }
      await cycle.pause();
    }
    return { rows, limit };
  }

  #limit(): number | undefined {
    try {
      const text = readText(limitPath(this.#sources));
      return text !== undefined && /^\d+\n$/.test(text) ? Number(text) : undefined;
    } catch (error) {
      this.#sources.errors.count('procfs', LIMIT, error);
      return undefined;
    }
  }
}

function count(counts: Map<string, StateCount>, entry: TableEntry): void {
  const key = `${entry.protocol}/${entry.state}`;
  const counted = counts.get(key);
  if (counted === undefined) counts.set(key, { ...entry, count: 1 });
  else counted.count++;
}

function limitPath({ paths }: ConntrackSources): string {
  return join(paths.proc, LIMIT);
}

/** Why ctnetlink cannot be asked; undefined where it answers. */
function refusalOf(sources: ConntrackSources): string | undefined {
  const { node } = sources.netns;
  if (node === undefined) return undefined;
  try {
    sources.netlink.check(node, freeCycle());
    sources.netlink.demand(node, GLOBAL_STATS, freeCycle());
    return undefined;
  } catch (error) {
    return explainRefusal(error, readText(limitPath(sources)) !== undefined);
  }
}

/**
 * In the words of an operator.
 * @param tracks the kernel has connection tracking
 * @throws what may pass
 */
export function explainRefusal(error: unknown, tracks: boolean): string {
  if (error instanceof Unsupported) return error.message;
  if (!(error instanceof BpfError)) throw error;
  if (error.errno === EPERM) return 'asking ctnetlink needs CAP_NET_ADMIN';
  // No such netlink protocol, or no such part of it.
  if (![EINVAL, EOPNOTSUPP, EPROTONOSUPPORT].includes(error.errno)) throw error;
  return tracks
    ? 'this kernel tracks connections, but cannot be asked: ctnetlink (module nf_conntrack_netlink) is missing'
    : 'this kernel does not track connections: nf_conntrack is missing';
}
