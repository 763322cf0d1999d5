import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError } from 'bpf-napi';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import type { Paths } from '#core/paths.ts';
import { NotYet, type ReaderHealth, Unsupported } from '#core/reader.ts';
import type { SourceErrors } from '../errors.ts';
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
import { decodeMessages, NETLINK } from '../netlink/message.ts';
import type { NetnsEntry } from '../netns.ts';
import { readText } from '../procfs/read.ts';
import type { Sources } from '../sources.ts';
import { WalkSource } from '../walk_source.ts';
import type { ConntrackRow, ConntrackSnapshot, StateCount } from './snapshot.ts';
import { ConntrackWalk } from './walk.ts';
import { WideCounters } from './wide.ts';

/** Sources that the reader needs. */
export interface ConntrackSources extends Pick<Sources, 'netns' | 'netlink' | 'bpf' | 'cpus'> {
  readonly paths: Paths;
  readonly errors: SourceErrors;
  readonly warn: (message: string) => void;
}

const CPU_STATS: NetlinkQuestion<ConntrackCounters | undefined> = {
  protocol: NETLINK.netfilter,
  what: 'conntrack stats',
  request: CPU_STATS_REQUEST,
  decode: decodeCpuStats,
};
const GLOBAL_STATS: NetlinkQuestion<GlobalStats | undefined> = {
  protocol: NETLINK.netfilter,
  what: 'conntrack count',
  request: GLOBAL_STATS_REQUEST,
  decode: decodeGlobalStats,
};
const TABLE = { protocol: NETLINK.netfilter, what: 'conntrack table', request: TABLE_REQUEST };

/**
 * Most files in /proc/sys/net depend on the reader's network namespace, but this limit is the same in all namespaces.
 */
export const LIMIT = 'sys/net/netfilter/nf_conntrack_max';

/**
 * Maximum size of an entry in a response. Entries have at least 164 bytes; about 400 with NAT, accounting and labels.
 */
const ENTRY_BYTES_MAX = 1024;
/** Maximum number of entries that may be added between counting and reading. */
const ENTRIES_MORE = 10_000;
/** Number of entries to decode before pausing, which takes a few hundred microseconds. */
const ENTRIES_A_PIECE = 256;

export const NO_CONNTRACK = 'this kernel does not track connections: nf_conntrack is not loaded';

const EPERM = 1;
const EINVAL = 22;
const EPROTONOSUPPORT = 93;
const EOPNOTSUPP = 95;

/**
 * Reads the connection tracking statistics of every namespace: with a walk in the kernel if possible, otherwise with
 * two netlink requests per namespace.
 */
export class ConntrackReader implements AsyncDisposable {
  readonly #sources: ConntrackSources;
  readonly #source: WalkSource<readonly ConntrackRow[]>;
  readonly #wide: WideCounters;
  #use: AsyncDisposable | undefined;
  /** Latest netlink response with the global limit. */
  #asked: GlobalStats | undefined;
  /** Reason why ctnetlink cannot be queried; undefined if it can. */
  readonly refusal: string | undefined;

  private constructor(sources: ConntrackSources, wide: WideCounters, refusal: string | undefined) {
    this.#sources = sources;
    this.#wide = wide;
    this.refusal = refusal;
    this.#source = new WalkSource({
      what: 'connection tracking',
      warn: sources.warn,
      open: () => {
        const { bpf, cpus, errors, netns } = sources;
        return ConntrackWalk.open(bpf, cpus, wide, errors, (id) => netns.isNobodys(id));
      },
      otherwise: (cycle) => this.#ask(cycle),
      otherwiseName: 'netlink',
    });
  }

  /**
   * @param wide counters of an earlier reader, which the new one continues
   * @throws {NotYet} if the kernel is not tracking connections (yet)
   * @throws {Unsupported} if there is no way to read the statistics
   */
  static async open(sources: ConntrackSources, wide = new WideCounters()): Promise<ConntrackReader> {
    // Check the path first, because a netlink request would load the module, which then tracks every connection.
    const limit = limitPath(sources);
    if (!existsSync(limit)) throw new NotYet(`${NO_CONNTRACK} (${limit} is missing)`, () => existsSync(limit));
    const reader = new ConntrackReader(sources, wide, refusalOf(sources));
    reader.#use = await reader.#source.use();
    if (reader.health.reader === 'pass' || reader.refusal === undefined) return reader;
    const { note } = reader.health;
    await reader[Symbol.asyncDispose]();
    throw new Unsupported(`${reader.refusal}; the walk in the kernel cannot run: ${note}`);
  }

  get health(): ReaderHealth {
    return this.#source.health;
  }

  async read(cycle: Cycle): Promise<ConntrackSnapshot> {
    const rows = await this.#source.read(cycle);
    return { rows, limit: this.health.reader === 'pass' ? this.#limit() : this.#asked?.limit };
  }

  /**
   * Counts the table entries of a namespace by protocol and state. The kernel takes 2 µs per entry, in a worker thread.
   * Returns undefined if the namespace is gone or the request failed. Failures are counted.
   */
  async states(entry: NetnsEntry, entries: number, cycle: Cycle): Promise<StateCount[] | undefined> {
    const bytesMax = (entries + ENTRIES_MORE) * ENTRY_BYTES_MAX;
    const messages = await this.#sources.netlink.askLong(entry, TABLE, bytesMax, cycle);
    if (messages === undefined) return undefined;
    const malformed = this.#sources.netlink.malformed(TABLE);
    const counts = new Map<string, StateCount>();
    let seen = 0;
    for (const message of decodeMessages(messages, malformed)) {
      const decoded = decodeEntry(message);
      if (decoded === undefined) malformed('an entry of the table');
      else count(counts, decoded);
      if (++seen % ENTRIES_A_PIECE === 0) await cycle.pause();
    }
    return [...counts.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#use?.[Symbol.asyncDispose]();
  }

  async #ask(cycle: Cycle): Promise<readonly ConntrackRow[]> {
    const { netns, netlink } = this.#sources;
    const rows: ConntrackRow[] = [];
    for (const entry of netns.snapshot()) {
      const stats = netlink.ask(entry, GLOBAL_STATS, cycle);
      const counters = stats && netlink.ask(entry, CPU_STATS, cycle);
      if (stats !== undefined && counters !== undefined) {
        this.#asked = stats;
        rows.push({ id: entry.id, entries: stats.entries, counters: this.#wide.widen(entry.id, counters) });
      }
      await cycle.pause();
    }
    return rows;
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

/** Returns the reason why ctnetlink cannot be queried; undefined if it can. */
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
 * Returns an explanation for operators of the reason why ctnetlink cannot be queried.
 * @param tracks whether the kernel has connection tracking
 * @throws the error if it may be transient
 */
export function explainRefusal(error: unknown, tracks: boolean): string {
  if (error instanceof Unsupported) return error.message;
  if (!(error instanceof BpfError)) throw error;
  if (error.errno === EPERM) return 'ctnetlink needs CAP_NET_ADMIN';
  // These codes mean that the kernel does not support the netlink protocol or the subsystem.
  if (![EINVAL, EOPNOTSUPP, EPROTONOSUPPORT].includes(error.errno)) throw error;
  return tracks
    ? 'connection tracking cannot be queried because ctnetlink (module nf_conntrack_netlink) is missing'
    : NO_CONNTRACK;
}
