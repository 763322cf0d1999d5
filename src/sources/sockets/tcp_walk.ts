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
import {
  type AcceptQueue,
  byFullness,
  NO_SOCKETS,
  type RowsWalk,
  type TcpSnapshot,
  type TcpSummary,
} from './snapshot.ts';
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
  /** Whether the kernel lets a program read its memory without calling a helper (6.2), which takes half the time. */
  readonly canCast: boolean;
  /** Duration of one call, which has its CPU to itself. A call takes a little longer, because it finishes its current chain. */
  readonly sliceUs: number;
  /** Duration of a whole walk: some half a million sockets. */
  readonly walkMs: number;
  /** Number of ports of one owner whose accept queues are reported: an owner that listens on everything must not hide those of the others. */
  readonly portsEach: number;
  /** Number of buckets that are walked for one owner, in hashes that belong to its namespaces alone. */
  readonly bucketsEach: number;
  /** Returns the rows that the walk adds open sockets to; undefined while nobody wants any. */
  readonly shared: () => SharedRows | undefined;
  /** Whether the ended sockets are read last, which counts some twice: for a test of the tests. */
  readonly closedLate: boolean;
}

const PORTS_EACH = 4_096;
/** Number of buckets whose walk takes a millisecond. */
const BUCKETS_EACH = 1 << 18;
const ROWS_MIN = MAX_ENTRIES.tcp_rows;
export const TCP_ROWS_MAX = 1 << 15;
/** Number of listening ports of one namespace, on average. */
export const PORTS_A_ROW = MAX_ENTRIES.tcp_accept_queues / MAX_ENTRIES.tcp_rows;

const STATES = NO_SOCKETS.sockets.length;

/**
 * Adds up the TCP sockets of all namespaces with a BPF program that walks the hash that they are in, in slices.
 *
 * Sockets come and go meanwhile. A socket that stays in its state is counted once. A socket that is opened, is closed or changes its
 * state during the walk, which takes a millisecond or two for ten thousand sockets, may be missed, or be counted in both states. Only
 * in chains of more than a thousand sockets (a hash is sized for one or two) a slice may end in the middle, and the next slice
 * continues at the same count: where sockets have come or gone before that place, as many others are counted twice or missed. Where a
 * chain is seen to lead into another one, the walk is repeated.
 */
export class TcpWalk implements KernelWalk<TcpSnapshot> {
  readonly #bpf: BpfSource;
  readonly #list: ListOwners;
  readonly #options: WalkOptions;
  readonly #errors: SourceErrors;
  #object: LoadedObject<Layout>;
  #listed: Disposable;
  #rows: number;
  /** Rows that the object was loaded with. */
  #shared: SharedRows | undefined;
  #left: readonly string[] = [];
  #walk = 0;
  #closed = false;
  /** The last read: reads take turns. */
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
   * @param namespaces number of namespaces now; the maps grow where later ones have no room
   * @param list writes the owner of each namespace into each object that is loaded
   * @throws {Unsupported} where the kernel cannot run the program: before 6.1, without BTF, without the capability
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

  /** @throws where the walk could not finish, or cannot be trusted */
  read(cycle: Cycle): Promise<TcpSnapshot> {
    // A walk has one position in the kernel, and may load the object again.
    const reading = this.#reading.then(() => this.#read(cycle));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  async #read(cycle: Cycle): Promise<TcpSnapshot> {
    if (this.#options.shared() !== this.#shared) await this.#load(this.#rows);
    for (let walks = 1; ; ) {
      await walkSockets(
        this.#object,
        { walk: ++this.#walk, listenersOnly: false, rows: this.#shared?.wanted ?? 0 },
        this.#options,
        this.#progress,
        cycle,
      );
      const at = this.#progressView;
      const isFull = tcpProgress.rowsFull(at, 0) + tcpProgress.acceptQueuesFull(at, 0) > 0;
      if (isFull && this.#rows < TCP_ROWS_MAX) await this.#load(2 * this.#rows);
      else if (tcpProgress.rowsFull(at, 0) > 0) throw new Error(`TCP sockets in more than ${TCP_ROWS_MAX} namespaces`);
      else if (tcpProgress.strayed(at, 0) === 0) return this.#snapshot();
      else if (walks++ === WALKS_MAX) throw new Error(`the TCP sockets changed under ${WALKS_MAX} walks`);
    }
  }

  /** Loads the object again: with room for more namespaces, or with other shared rows. */
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

  #snapshot(): TcpSnapshot {
    // Connections are still counted: a Pod that listens on everything must not hide those of the others.
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
      rows: this.#rowsWalk(),
      summary: (id) => (left.has(id) ? undefined : (summaries.get(id) ?? NO_SOCKETS)),
    };
  }

  #rowsWalk(): RowsWalk | undefined {
    if (this.#shared === undefined) return undefined;
    const object = this.#object;
    return {
      walk: this.#walk,
      left: tcpProgress.flowsLeft(this.#progressView, 0),
      evict: (key) => void object.run('flow_evict', new BigUint64Array(key.slice().buffer)),
    };
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
