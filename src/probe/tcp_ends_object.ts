import { type BpfLink, type BpfMap, type BpfObject, BpfRing, clockOffset, jiffiesPerSecond } from 'bpf-napi';
import { eventLedger, flowKey, flowRow, MAX_ENTRIES } from '#bpf/generated/common.ts';
import { endConsumer, FILE, type Layout, tcpEndEvent, tcpEndsWanted } from '#bpf/generated/tcp_ends.ts';
import { bytesOf } from '#bpf/layout.ts';
import { type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { FLOW_MAPS, type FlowMap } from '#sources/sockets/walk.ts';
import { type COUNTED, Counts } from './counts.ts';
import { EbpfInstance } from './ebpf.ts';
import { FIRST_FAILURE, FLOW_ENDS, FLOW_ROLES } from './flow_row.ts';
import { type HISTOGRAMS, Histograms } from './histogram.ts';
import { type HookTable, hook, openHooks } from './hooks.ts';
import { OwnersMap } from './listed.ts';
import type { Owners } from './owners.ts';
import { SLOTS, sharesOf } from './owners.ts';
import type { Retained } from './retained.ts';
import { Room } from './room.ts';
import { decodeSocketEnd, type SocketEnd } from './socket_end.ts';
import type { KernelLedger, NotShown, Uncounted } from './status.ts';
import type { Tally } from './tally.ts';
import type { EndConsumer } from './tcp_ends_use.ts';
import { whyNoLookup } from './translated_peers.ts';

export const TCP_ENDS_HOOKS: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'ends of TCP sockets',
      why: 'the programs use atomic operations that return a value, which Linux supports since 5.12',
      choices: [
        {
          hooks: [
            hook('tp_btf/inet_sock_set_state', 3, 'tcp_end'),
            hook('tp_btf/inet_sock_set_state', 3, 'tcp_end_again'),
          ],
        },
      ],
    },
    {
      what: 'start times of connections whose SYN is retransmitted',
      optional: true,
      choices: [{ hooks: [hook('tp_btf/tcp_retransmit_skb', 1, 'tcp_end_retransmit')] }],
    },
  ],
  calls: ['flow_watch'],
  later: ['tcp_end_third'],
};

/** Copies of the same handler, in the order in which they run. The last one is not always attached. */
const COPIES = ['tcp_end', 'tcp_end_again', 'tcp_end_third'] as const satisfies readonly Layout['program'][];
const SPARE = COPIES[2];
/** If the kernel has not skipped a run for this number of milliseconds, the last copy is detached. */
const QUIET_MS = 60_000;

/** Maximum number of rows for failures and connection times together. */
const COUNT_ROWS = 32_768;
/** Maximum number of these rows on kernels where the maps are preallocated. */
const COUNT_ROWS_PREALLOCATED = 1_024;
/** Default number of flow rows. */
export const FLOW_ROWS = 16_384;
/** Maximum number of flow rows. Rows are allocated on demand. */
export const FLOW_ROWS_MAX = 65_536;
const RING_BYTES = 256 * 1024;
const RING_SHARES = 4;
const DRAIN_EVERY_MS = 25;
const DRAIN_BYTES = 64 * 1024;

/** Settings of the programs. They may change while the programs run. */
export type TcpEndsWanted = Readonly<Record<keyof typeof tcpEndsWanted.offsets, number>>;

/** Counts from objects that have been closed. */
export interface TcpEndsEarlier {
  readonly counted: Retained<ReturnType<typeof COUNTED.initial>>;
  readonly histograms: Retained<ReturnType<typeof HISTOGRAMS.initial>>;
  readonly ledger: Retained<KernelLedger>;
  readonly missed: Retained<Readonly<Record<string, bigint>>>;
  readonly consumers: Record<EndConsumer, KernelLedger>;
}

export interface TcpEndsObjectOptions {
  readonly bpf: BpfSource;
  readonly owners: Owners;
  readonly proc: string;
  readonly node: NetnsId | undefined;
  readonly earlier: TcpEndsEarlier;
  readonly onEnd: (end: SocketEnd, consumers: number) => void;
  readonly onFreed: (slot: number) => void;
  readonly warn: (message: string) => void;
}

/** Returns the cause and role of an entry of `count_rest`. @param rest index of the entry within its slot */
function restKey(rest: number): { reason: number; side: number } {
  const failures = FLOW_ENDS.length - FIRST_FAILURE;
  return { reason: FIRST_FAILURE + (rest % failures), side: Math.floor(rest / failures) };
}

/** Counts of failures and histograms of connection times. Both use the rows of their owners. */
class EndsTally implements Tally {
  readonly map = 'counts';
  readonly failures: Counts;
  readonly times: Histograms<NetnsId>;

  constructor(object: BpfObject, owners: Owners, { counted, histograms }: TcpEndsEarlier) {
    this.failures = new Counts(object, restKey, owners, counted);
    this.times = new Histograms(
      object,
      { name: 'connect_times', decodeKey: (view, at) => asNetnsId(readCounter(view, at)), isByNetns: true },
      2,
      owners,
      histograms,
    );
  }

  uncounted(): Uncounted {
    return this.times.uncounted();
  }

  notShown(): NotShown {
    return this.failures.notShown();
  }

  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number> {
    const left = new Map(this.failures.sweep(isDead));
    for (const [id, rows] of this.times.sweep(isDead)) left.set(id, (left.get(id) ?? 0) + rows);
    return left;
  }

  freed(slot: number): void {
    this.failures.freed(slot);
    this.times.freed(slot);
  }

  remember(): void {
    this.failures.remember();
    this.times.remember();
  }
}

/**
 * The programs that count ended TCP sockets, loaded and attached, together with their maps
 * (`src/bpf/probes/tcp_ends.bpf.c`).
 */
export class TcpEndsObject implements Disposable {
  readonly instance: EbpfInstance<EndsTally>;
  readonly #object: BpfObject;
  readonly #ring: BpfRing;
  readonly #listed: Disposable;
  readonly #earlier: TcpEndsEarlier;
  readonly #warn: (message: string) => void;
  #spare: BpfLink | undefined;
  /** Whether the kernel has ever skipped a run of a copy because the same copy was already running on that CPU. */
  #interrupts = false;
  readonly #openedMs = performance.now();
  #isClosed = false;

  private constructor(
    instance: EbpfInstance<EndsTally>,
    spare: BpfLink,
    { owners, earlier, onEnd, onFreed, warn }: TcpEndsObjectOptions,
  ) {
    this.instance = instance;
    this.#spare = spare;
    this.#object = instance.object;
    this.#earlier = earlier;
    this.#warn = warn;
    this.#ring = openRing(this.#object, onEnd, warn);
    this.#listed = new OwnersMap(this.#object, owners, {
      freed: (slot) => {
        instance.tally.freed(slot);
        this.#clearRests(slot);
        onFreed(slot);
      },
    });
  }

  /** Loads and attaches the programs. @throws {Unsupported} if the kernel cannot run them */
  static async open(options: TcpEndsObjectOptions): Promise<TcpEndsObject> {
    const { bpf, owners, proc, node, earlier } = options;
    bpf.check();
    const isOnDemand = bpf.allocatesOnDemand();
    const shares = sharesOf(isOnDemand ? COUNT_ROWS : COUNT_ROWS_PREALLOCATED);
    const open = await openHooks(bpf, TCP_ENDS_HOOKS, {
      file: FILE,
      // Instead, the programs have a ledger and rate limits for each consumer.
      without: ['event_ledgers', 'event_buckets'],
      sizes: {
        events: RING_BYTES,
        counts: COUNT_ROWS_PREALLOCATED,
        connect_times: COUNT_ROWS_PREALLOCATED,
        // Nothing is logged if nothing can be looked up.
        ...(whyNoLookup() === undefined ? {} : { flow_log: 1 }),
      },
      onDemand: {
        owners: MAX_ENTRIES.owners * 8,
        counts: COUNT_ROWS,
        connect_times: COUNT_ROWS + SLOTS,
        flow_rows: FLOW_ROWS_MAX,
      },
      constants: {
        owner_rows: shares.ofOwner,
        unlisted_rows: shares.ofUnlisted,
        jiffies_per_second: jiffiesPerSecond(),
        ring_share: RING_BYTES / RING_SHARES,
        ...(node === undefined ? {} : { node_netns: BigInt(node) }),
      },
    });
    try {
      const tally = new EndsTally(open.object, owners, earlier);
      const instance = new EbpfInstance(open, {
        proc,
        tally,
        earlier,
        room: new Room(open.object, tally.map, shares, owners),
      });
      const spare = await open.object.attach(SPARE);
      return new TcpEndsObject(instance, spare, options);
    } catch (error) {
      open.object.close();
      throw error;
    }
  }

  /** Maximum number of flow rows. */
  get rowsMax(): number {
    return this.#object.map('flow_rows').maxEntries;
  }

  /** Maps to which the walk adds open sockets. */
  get shared(): Readonly<Record<FlowMap, BpfMap>> {
    return Object.fromEntries(FLOW_MAPS.map((name) => [name, this.#object.map(name)])) as Record<FlowMap, BpfMap>;
  }

  /**
   * Sets whether the connections of a row are logged.
   * @param text text of the row's key
   */
  watch(text: string, isWatched: boolean): void {
    const words = new BigUint64Array(flowKey.SIZE / 8 + 1);
    Buffer.from(words.buffer).write(text, 'latin1');
    words[words.length - 1] = BigInt(isWatched);
    this.#object.run('flow_watch', words);
  }

  want(wanted: TcpEndsWanted): void {
    const bytes = new Uint8Array(tcpEndsWanted.SIZE);
    const view = new DataView(bytes.buffer);
    for (const [name, offset] of Object.entries(tcpEndsWanted.offsets)) {
      view.setUint32(offset, wanted[name as keyof TcpEndsWanted], true);
    }
    this.#object.map('tcp_ends_wanted').update(bytesOf(0), bytes);
  }

  /** Returns the rest rows of the owners; undefined if they contain no counts yet. */
  rests() {
    const used = new Uint8Array(8);
    this.#object.map('flow_rest_used').lookup(bytesOf(0), used);
    return used.some((byte) => byte !== 0) ? this.#object.map('flow_rest').dump() : undefined;
  }

  /** Returns the counts of reports to a consumer, including those from earlier objects. */
  ledger(consumer: EndConsumer): KernelLedger {
    const map = this.#object.map('end_ledgers');
    const value = new Uint8Array(map.valueBytes);
    map.lookup(bytesOf(Math.log2(endConsumer[consumer])), value);
    const view = new DataView(value.buffer);
    let { produced, limited, lost } = this.#earlier.consumers[consumer];
    for (let at = 0; at < value.length; at += eventLedger.SIZE) {
      produced += BigInt(eventLedger.produced(view, at));
      limited += BigInt(eventLedger.limited(view, at));
      lost += BigInt(eventLedger.lost(view, at));
    }
    return { produced, limited, lost };
  }

  /**
   * Attaches or detaches the last copy of the handler. It is attached at first, and detached if the kernel has not
   * skipped a run for a minute. At the first skipped run, it is attached again and remains attached, because programs
   * interrupt each other on this machine. Must be called at each scrape.
   */
  watchCopies(nowMs = performance.now()): void {
    if (this.#interrupts) return;
    this.#interrupts = COPIES.some((name) => this.#object.programInfo(name).missed > 0n);
    if (this.#interrupts) void this.#attachSpare();
    else if (nowMs - this.#openedMs >= QUIET_MS) this.#detachSpare();
  }

  /** Handles the reports that are currently in the ring. */
  drain(): void {
    while (this.#ring.drain() > 0);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#object.detach();
    this.drain();
    for (const consumer of Object.keys(endConsumer) as EndConsumer[]) {
      this.#earlier.consumers[consumer] = this.ledger(consumer);
    }
    this.instance.remember();
    this.instance.tally.remember();
    this.#listed[Symbol.dispose]();
    this.#ring[Symbol.dispose]();
    this.#object.close();
  }

  async #attachSpare(): Promise<void> {
    if (this.#spare !== undefined) return;
    try {
      this.#spare = await this.#object.attach(SPARE);
    } catch (error) {
      if (!this.#isClosed) this.#warn(`some closed TCP sockets may be missed: ${(error as Error).message}`);
    }
  }

  #detachSpare(): void {
    this.#spare?.close();
    this.#spare = undefined;
  }

  #clearRests(slot: number): void {
    const zero = new Uint8Array(flowRow.SIZE);
    for (const role of FLOW_ROLES.keys()) {
      this.#object.map('flow_rest').update(bytesOf(slot * FLOW_ROLES.length + role), zero);
    }
  }
}

function openRing(
  object: BpfObject,
  onEnd: TcpEndsObjectOptions['onEnd'],
  warn: TcpEndsObjectOptions['warn'],
): BpfRing {
  return new BpfRing(object, 'events', {
    recordBytesMax: tcpEndEvent.SIZE,
    wakeBy: 'adaptive',
    intervalMs: DRAIN_EVERY_MS,
    bufferBytes: DRAIN_BYTES,
    onBatch: ({ view, forEach }) => {
      const offset = clockOffset();
      forEach((at) => {
        const end = decodeSocketEnd(view, at, (kernelTime: Counter) => BigInt(kernelTime) + offset);
        if (end !== undefined) onEnd(end, tcpEndEvent.consumers(view, at));
      });
    },
    onError: (error) => warn(`ends of TCP sockets could not be read: ${(error as Error).message}`),
  });
}
