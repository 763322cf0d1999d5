import {
  FILE,
  type Layout,
  MAX_ENTRIES,
  tcpAcceptQueue,
  tcpPort,
  tcpProgress,
  tcpRow,
} from '#bpf/generated/tcpsummary.ts';
import { readCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { KIND } from '../bpf/btf.ts';
import type { BpfSource, LoadedObject } from '../bpf/source.ts';
import type { SourceErrors } from '../errors.ts';
import type { KernelWalk } from '../walk_source.ts';
import { type AcceptQueue, byFullness, NO_SOCKETS, type TcpSnapshot, type TcpSummary } from './snapshot.ts';
import {
  FLOW_MAPS,
  type ListOwners,
  type SharedRows,
  SLICE_US,
  visitWalked,
  WALK_MS,
  WALKS_MAX,
  walkSockets,
} from './walk.ts';

export interface WalkOptions {
  /** True if programs can read kernel memory without a helper call (since 6.2), which halves the duration of a walk. */
  readonly canCast: boolean;
  /**
   * Target duration of one call in microseconds. A call occupies its CPU, and takes a little longer to finish its
   * current chain.
   */
  readonly sliceUs: number;
  /** Maximum duration of a whole walk in milliseconds. The default is sufficient for half a million sockets. */
  readonly walkMs: number;
  /**
   * Maximum number of ports per owner for which accept queues are reported. Prevents an owner that listens on every
   * port from hiding the queues of other owners.
   */
  readonly portsEach: number;
  /** Maximum number of buckets to walk per owner in hash tables that belong to the owner's namespaces. */
  readonly bucketsEach: number;
  /** Returns the rows to which the walk adds open sockets; undefined while no probe needs any. */
  readonly shared: () => SharedRows | undefined;
  /**
   * Makes the walk add the closed sockets last, which counts some sockets twice. Used to check that the tests detect
   * this error.
   */
  readonly closedLate: boolean;
}

const PORTS_EACH = 4_096;
/** Default maximum number of buckets per owner. Walking this number takes a millisecond. */
const BUCKETS_EACH = 1 << 18;
const ROWS_MIN = MAX_ENTRIES.tcp_rows;
export const TCP_ROWS_MAX = 1 << 15;
/** Average number of listening ports per namespace for which the maps have space. */
export const PORTS_A_ROW = MAX_ENTRIES.tcp_accept_queues / MAX_ENTRIES.tcp_rows;

const STATES = NO_SOCKETS.sockets.length;

/**
 * Adds up the TCP sockets of all namespaces with a BPF program that walks the sockets' hash table in slices.
 *
 * A walk takes one to two milliseconds for ten thousand sockets, during which sockets are opened and closed. A socket
 * that stays in the same state is counted exactly once. A socket that is opened, is closed or changes its state may be
 * missed or counted in both states.
 *
 * A slice can end in the middle of a chain only if the chain has more than a thousand sockets; hash tables are sized
 * for chains of one or two. The next slice then skips as many sockets as have already been counted. If sockets before
 * that position were added or removed in the meantime, the same number of sockets is counted twice or missed. The walk
 * is repeated if it finds that a chain leads into another chain.
 */
export class TcpWalk implements KernelWalk<TcpSnapshot> {
  readonly #bpf: BpfSource;
  readonly #list: ListOwners;
  readonly #options: WalkOptions;
  readonly #errors: SourceErrors;
  #object: LoadedObject<Layout>;
  #listed: Disposable;
  #rows: number;
  /** Shared rows that the loaded object uses. */
  #shared: SharedRows | undefined;
  #left: readonly string[] = [];
  #walk = 0;
  #closed = false;
  /** Promise of the previous read, which the next read awaits. */
  #reading: Promise<unknown> = Promise.resolve();
  readonly #progress = new Uint8Array(tcpProgress.SIZE);
  readonly #progressView = new DataView(this.#progress.buffer);

  private constructor(
    bpf: BpfSource,
    list: ListOwners,
    options: WalkOptions,
    errors: SourceErrors,
    rows: number,
    shared: SharedRows | undefined,
    object: LoadedObject<Layout>,
  ) {
    this.#bpf = bpf;
    this.#list = list;
    this.#shared = shared;
    this.#options = options;
    this.#errors = errors;
    this.#rows = rows;
    this.#object = object;
    this.#listed = list(object);
  }

  /**
   * @param namespaces current number of namespaces; the maps are enlarged if later namespaces do not fit
   * @param list writes the owners of namespaces into each object that is loaded
   * @throws {Unsupported} if the kernel cannot run the program: before 6.1, without BTF, or without the capability
   */
  static async open(
    bpf: BpfSource,
    namespaces: number,
    list: ListOwners,
    errors: SourceErrors,
    options: Partial<WalkOptions> = {},
  ): Promise<TcpWalk> {
    const all = {
      canCast: hasCast(bpf),
      sliceUs: SLICE_US,
      walkMs: WALK_MS,
      portsEach: PORTS_EACH,
      bucketsEach: BUCKETS_EACH,
      shared: () => undefined,
      closedLate: false,
      ...options,
    };
    let rows = ROWS_MIN;
    while (rows < 2 * namespaces && rows < TCP_ROWS_MAX) rows *= 2;
    const shared = all.shared();
    return new TcpWalk(bpf, list, all, errors, rows, shared, await load(bpf, all, rows, shared));
  }

  /** @throws if the walk could not finish or its result may be wrong */
  read(cycle: Cycle): Promise<TcpSnapshot> {
    // Reads must not overlap: the object stores the position of only one walk, and a read may load the object again.
    const reading = this.#reading.then(() => this.#read(cycle));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  async #read(cycle: Cycle): Promise<TcpSnapshot> {
    if (this.#options.shared() !== this.#shared) await this.#load(this.#rows);
    for (let walks = 1; ; ) {
      const updated = this.#shared?.wanted ?? 0;
      await walkSockets(
        this.#object,
        { walk: ++this.#walk, listenersOnly: false, rows: updated },
        this.#options,
        this.#progress,
        cycle,
      );
      const at = this.#progressView;
      const isFull = tcpProgress.rowsFull(at, 0) + tcpProgress.acceptQueuesFull(at, 0) > 0;
      if (isFull && this.#rows < TCP_ROWS_MAX) await this.#load(2 * this.#rows);
      else if (tcpProgress.rowsFull(at, 0) > 0) throw new Error(`TCP sockets in more than ${TCP_ROWS_MAX} namespaces`);
      else if (tcpProgress.strayed(at, 0) === 0) return this.#snapshot(updated);
      else if (walks++ === WALKS_MAX) throw new Error(`the TCP sockets changed under ${WALKS_MAX} walks`);
    }
  }

  /** Loads the object again, for more namespaces or with other shared rows. */
  async #load(rows: number): Promise<void> {
    const shared = this.#options.shared();
    const object = await load(this.#bpf, this.#options, rows, shared);
    this.#listed[Symbol.dispose]();
    this.#object[Symbol.dispose]();
    this.#object = object;
    this.#rows = rows;
    this.#shared = shared;
    this.#listed = this.#list(object);
    if (this.#closed) {
      this[Symbol.dispose]();
      throw new Error('the walk was closed');
    }
  }

  #snapshot(updated: number): TcpSnapshot {
    if (updated !== 0) this.#reportRows(updated);
    // A walk that left out accept queues is still valid, so a Pod that listens on every port cannot hide other Pods.
    const at = this.#progressView;
    const queuesLeft = tcpProgress.acceptQueuesFull(at, 0) + tcpProgress.acceptQueuesLeft(at, 0);
    const hashesLeft = tcpProgress.hashesLeft(at, 0);
    this.#left = [
      ...this.#leftOut('tcp accept queues', queuesLeft, 'sockets listen on more ports than a Pod has room for'),
      ...this.#leftOut(
        'tcp hashes',
        hashesLeft,
        'namespaces have hashes of their own that exceed the limit for each Pod',
      ),
    ];
    const acceptQueues = this.#acceptQueues();
    const left = new Set<NetnsId>();
    const summaries = new Map<NetnsId, TcpSummary>();
    visitWalked(this.#object.map('tcp_rows'), this.#walk, tcpRow.walk, (view, key, at) => {
      const id = asNetnsId(readCounter(view, key));
      if (tcpRow.left(view, at) !== 0) left.add(id);
      else summaries.set(id, readSummary(view, at, acceptQueues.get(id) ?? []));
    });
    return {
      hasRows: updated !== 0,
      summary: (id) => (left.has(id) ? undefined : (summaries.get(id) ?? NO_SOCKETS)),
    };
  }

  /** Reports the walk to the owner of the shared rows. */
  #reportRows(updated: number): void {
    const object = this.#object;
    this.#shared?.walked({
      walk: this.#walk,
      updated,
      left: tcpProgress.flowsLeft(this.#progressView, 0),
      evict: (key) => void object.run('flow_evict', new BigUint64Array(key.slice().buffer)),
    });
  }

  #leftOut(path: string, count: number, what: string): string[] {
    if (count === 0) return [];
    this.#errors.count('bpf', path, `${count} ${what}`);
    return [`${count} ${what}`];
  }

  #acceptQueues(): Map<NetnsId, AcceptQueue[]> {
    const queues = new Map<NetnsId, AcceptQueue[]>();
    visitWalked(this.#object.map('tcp_accept_queues'), this.#walk, tcpAcceptQueue.walk, (view, key, at) => {
      const id = asNetnsId(tcpPort.netns(view, key));
      const queue = {
        port: Number(tcpPort.port(view, key)),
        length: tcpAcceptQueue.length(view, at),
        limit: tcpAcceptQueue.limit(view, at),
        fullest: { length: tcpAcceptQueue.fullestLength(view, at), limit: tcpAcceptQueue.fullestLimit(view, at) },
      };
      const others = queues.get(id);
      if (others === undefined) queues.set(id, [queue]);
      else others.push(queue);
    });
    for (const list of queues.values()) list.sort(byFullness);
    return queues;
  }

  get left(): readonly string[] {
    return this.#left;
  }

  get object(): LoadedObject<Layout> {
    return this.#object;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#listed[Symbol.dispose]();
    this.#object[Symbol.dispose]();
  }
}

function hasCast(bpf: BpfSource): boolean {
  return bpf.btf().find(KIND.function, 'bpf_rdonly_cast') !== undefined;
}

function load(
  bpf: BpfSource,
  { canCast, portsEach, bucketsEach, closedLate }: WalkOptions,
  rows: number,
  shared: SharedRows | undefined,
): Promise<LoadedObject<Layout>> {
  return bpf.load<Layout>({
    file: FILE,
    programs: shared === undefined ? ['tcp_count'] : ['tcp_count', 'flow_evict'],
    helpers: ['loop'],
    constants: {
      can_cast: canCast,
      ports_each: portsEach,
      buckets_each: bucketsEach,
      has_flow_rows: shared !== undefined,
      closed_late: closedLate,
      ...(shared?.node === undefined ? {} : { node_netns: BigInt(shared.node) }),
    },
    sizes: { tcp_rows: rows, tcp_accept_queues: rows * PORTS_A_ROW },
    ...(shared === undefined ? { without: FLOW_MAPS } : { shared: shared.maps }),
  });
}

function readSummary(view: DataView, at: number, acceptQueues: readonly AcceptQueue[]): TcpSummary {
  const sockets: number[] = [];
  for (let state = 0; state < STATES; state++) sockets.push(tcpRow.sockets(view, at, state));
  return {
    sockets,
    receiveQueue: tcpRow.receiveQueue(view, at),
    sendQueue: tcpRow.sendQueue(view, at),
    largestReceiveQueue: tcpRow.largestReceiveQueue(view, at),
    largestSendQueue: tcpRow.largestSendQueue(view, at),
    acceptQueues,
  };
}
