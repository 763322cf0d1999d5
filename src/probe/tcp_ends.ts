import type { MapDump } from 'bpf-napi';
import { flowKey, ownerSlot } from '#bpf/generated/common.ts';
import { endConsumer } from '#bpf/generated/tcp_ends.ts';
import { tcpRowsWanted } from '#bpf/generated/tcpsummary.ts';
import { type Cycle, freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import type { RowsWalk } from '#sources/sockets/snapshot.ts';
import type { SharedRows } from '#sources/sockets/walk.ts';
import type { Sources } from '#sources/sources.ts';
import { COUNTED } from './counts.ts';
import { keyText } from './flow_dump.ts';
import { FlowRoom } from './flow_room.ts';
import type { FlowRow } from './flow_row.ts';
import { FlowTable } from './flow_table.ts';
import { HISTOGRAMS } from './histogram.ts';
import { EVENT_LEDGER } from './ledger.ts';
import { type Owners, SLOTS } from './owners.ts';
import { roomOf } from './room.ts';
import type { SocketEnd } from './socket_end.ts';
import type { KernelLedger } from './status.ts';
import { FLOW_ROWS, type TcpEndsEarlier, TcpEndsObject, type TcpEndsWanted } from './tcp_ends_object.ts';
import type { EndConsumer, TcpEndsProvider, TcpEndsUse, TcpEndsUser } from './tcp_ends_use.ts';
import { TranslatedPeers } from './translated_peers.ts';

export interface TcpEndsOptions {
  readonly sources: Pick<Sources, 'bpf' | 'files' | 'netlink' | 'netns' | 'sockets'>;
  readonly owners: Owners;
  readonly proc: string;
  readonly warn: (message: string) => void;
}

/** Probes that report the status of the shared programs. The first one that runs reports it. */
const REPORTERS: readonly string[] = ['tcpconnect', 'flow', 'tcpsummary'];
const NOTHING: KernelLedger = { produced: 0n, limited: 0n, lost: 0n };

interface User {
  use: TcpEndsUse;
  readonly table: FlowTable | undefined;
}

/**
 * Counts of ended TCP sockets, shared by several probes. The programs are loaded for the first probe that uses them,
 * and closed after the last one. Each probe turns only the parts that it needs on and off.
 */
export class TcpEnds implements TcpEndsProvider {
  readonly #options: TcpEndsOptions;
  readonly #users = new Set<User>();
  readonly #earlier: TcpEndsEarlier = {
    counted: { value: COUNTED.initial() },
    histograms: { value: HISTOGRAMS.initial() },
    ledger: { value: EVENT_LEDGER.initial() },
    missed: { value: {} },
    consumers: { failure: NOTHING, degraded: NOTHING, record: NOTHING },
  };
  #object: TcpEndsObject | undefined;
  #room: FlowRoom | undefined;
  #shared: SharedRows | undefined;
  #translated: TranslatedPeers | undefined;
  #swept: Disposable | undefined;
  #moving: Promise<void> = Promise.resolve();
  #last: { readonly cycle: Cycle; readonly read: Promise<void> } | undefined;
  /**
   * Rows that the programs no longer update, by key as text. The value is true if a row is evicted to make room for
   * others.
   */
  readonly #evicting = new Map<string, boolean>();
  #evicted = 0;
  #left = 0;
  /** Reason why the last walk over the open sockets failed; undefined if it succeeded. */
  #failure: string | undefined;

  constructor(options: TcpEndsOptions) {
    this.#options = options;
  }

  /** Rows to which the walk adds open sockets; undefined if no probe needs them. */
  get shared(): SharedRows | undefined {
    return this.#shared;
  }

  /** Registers a probe as a user of the programs. @throws {Unsupported} if the kernel cannot run them */
  async use(use: TcpEndsUse): Promise<TcpEndsUser> {
    const { roles, identities } = use;
    const owners = { slotOf: this.#slotOf, homeOf: this.#homeOf };
    const table = roles && new FlowTable(owners, (role) => roles.includes(role), identities);
    const user: User = { use, table };
    await this.#move(async () => {
      if (this.#object === undefined) await this.#open();
      this.#users.add(user);
      this.#want();
    });
    // The table is read once now, so that earlier counts do not appear as an increase.
    if (table !== undefined) await this.#read(freeCycle()).catch(() => undefined);
    return this.#handleOf(user);
  }

  #handleOf(user: User): TcpEndsUser {
    const ends = this;
    const isReporter = () => this.#reporter === user.use.probe;
    return {
      report: {
        programs: () => (isReporter() ? (this.#object?.instance.programs() ?? []) : []),
        mapBytes: () => (isReporter() ? (this.#object?.instance.mapBytes() ?? {}) : {}),
        uncounted: () => (isReporter() ? (this.#object?.instance.tally.uncounted() ?? {}) : {}),
      },
      change: (use) => {
        user.use = { ...user.use, ...use };
        this.#want();
      },
      get degraded() {
        return ends.#degraded;
      },
      get hook() {
        return ends.#object?.instance.running().health().reader ?? '';
      },
      rows: async (cycle) => {
        if (this.#last?.cycle !== cycle) this.#last = { cycle, read: this.#read(cycle) };
        try {
          await this.#last.read;
          this.#failure = undefined;
        } catch (error) {
          cycle.signal.throwIfAborted();
          this.#failure = (error as Error).message;
        }
        return user.table?.rows() ?? [];
      },
      counted: (row) => user.table?.counted(row),
      split: (row) => user.table?.split(row) ?? row,
      watch: (mayBeTranslated) => this.#watch(user, mayBeTranslated),
      get translates() {
        return ends.#translated?.isOpen === true;
      },
      get untranslated() {
        return ends.#translated?.reason;
      },
      get evicted() {
        return ends.#evicted;
      },
      get size() {
        return user.table?.size ?? 0;
      },
      failures: () => this.#object?.instance.tally.failures.rows() ?? [],
      notShown: () => this.#object?.instance.tally.notShown(),
      times: () => this.#object?.instance.tally.times.rows() ?? [],
      ledger: (consumer) => this.#object?.ledger(consumer) ?? this.#earlier.consumers[consumer],
      [Symbol.asyncDispose]: () =>
        this.#move(async () => {
          this.#object?.drain();
          if (user.use.translates) this.#watch(user, () => false);
          this.#users.delete(user);
          if (!this.#translates) this.#translated?.close();
          if (this.#users.size === 0) this.#close();
          else this.#want();
        }),
    };
  }

  get #reporter(): string | undefined {
    const probes = new Set([...this.#users].map(({ use }) => use.probe));
    return REPORTERS.find((name) => probes.has(name));
  }

  /** Whether a probe wants the real ends behind translated addresses. */
  get #translates(): boolean {
    return [...this.#users].some(({ use }) => use.translates);
  }

  get #degraded(): readonly string[] {
    return [
      ...(this.#object?.instance.running().health().degraded ?? []),
      ...(this.#room?.degraded ?? []),
      ...(this.#failure === undefined ? [] : [`TCP connections are shown as of the previous walk: ${this.#failure}`]),
      ...(this.#left > 0
        ? [`${this.#left} connections are in hash chains too long to be read at once; they are counted when they end`]
        : []),
    ];
  }

  /** Runs the steps one after another, in the order of the calls. */
  #move(step: () => Promise<void>): Promise<void> {
    const moved = this.#moving.then(step);
    this.#moving = moved.catch(() => undefined);
    return moved;
  }

  async #open(): Promise<void> {
    const { sources, owners, proc, warn } = this.#options;
    const node = sources.netns.node?.id;
    const object = await TcpEndsObject.open({
      bpf: sources.bpf,
      owners,
      proc,
      node,
      earlier: this.#earlier,
      onEnd: (end, consumers) => this.#ended(end, consumers),
      onFreed: (slot) => {
        for (const { table } of this.#users) table?.freed(slot);
      },
      warn,
    });
    this.#object = object;
    this.#room = new FlowRoom(object.instance.object, owners, Math.min(FLOW_ROWS, object.rowsMax), node);
    this.#translated = new TranslatedPeers({ ...sources, proc }, object.shared, warn);
    this.#swept = sources.netns.onSweep((isDead) => this.#sweep(isDead));
  }

  #close(): void {
    this.#shared = undefined;
    this.#swept?.[Symbol.dispose]();
    this.#room?.[Symbol.dispose]();
    this.#translated?.[Symbol.dispose]();
    this.#object?.[Symbol.dispose]();
    this.#object = this.#room = this.#translated = this.#swept = this.#last = undefined;
    this.#evicting.clear();
    this.#left = 0;
  }

  #want(): void {
    const object = this.#object;
    if (object === undefined) return;
    const uses = [...this.#users].map(({ use }) => use);
    const limits = uses.flatMap((use) => use.rows ?? []);
    this.#room?.resize(Math.min(object.rowsMax, ...(limits.length === 0 ? [FLOW_ROWS] : limits)));
    const reports = uses.flatMap((use) => use.reports ?? []);
    const isWanted = (consumer: EndConsumer) => reports.some((report) => report.consumer === consumer);
    const rateOf = (consumer: EndConsumer) =>
      Math.ceil(Math.max(0, ...reports.filter((report) => report.consumer === consumer).map(({ rate }) => rate)));
    const thresholds = reports.find((report) => report.thresholds !== undefined)?.thresholds;
    const rows = uses.some(({ roles }) => roles?.some((role) => role !== 'listener'));
    const listens = uses.some(({ roles }) => roles?.includes('listener'));
    const roundTrips = uses.some((use) => use.roundTrips);
    object.want({
      rows: Number(rows),
      listens: Number(listens),
      roundTrips: Number(roundTrips),
      connects: Number(uses.some(({ connects }) => connects)),
      failures: Number(isWanted('failure')),
      degraded: Number(isWanted('degraded')),
      failedRecords: Number(isWanted('record')),
      allRecords: Number(reports.some(({ all }) => all)),
      starts: Number(reports.some(({ all }) => all)),
      failureRate: rateOf('failure'),
      degradedRate: rateOf('degraded'),
      recordRate: rateOf('record'),
      retransmittedPermille: permille(thresholds?.retransmits),
      receiverLimitedPermille: permille(thresholds?.receiverLimited),
      roundTrip: Math.round((thresholds?.roundTripSeconds ?? 0) * 1e6),
      segmentsMin: thresholds?.segments ?? 0,
    } satisfies TcpEndsWanted);
    const wanted =
      (rows ? tcpRowsWanted.flows : 0) |
      (listens ? tcpRowsWanted.listens : 0) |
      (roundTrips ? tcpRowsWanted.round_trips : 0);
    // The walk reloads its program if it gets a different object, so the object is reused as long as the maps stay the
    // same.
    if (wanted === 0) this.#shared = undefined;
    else
      this.#shared = Object.assign(
        this.#shared ?? {
          maps: object.shared,
          node: this.#options.sources.netns.node?.id,
          walked: (walk: RowsWalk) => this.#walked(walk),
        },
        { wanted },
      );
  }

  #ended(end: SocketEnd, consumers: number): void {
    for (const { use } of this.#users) {
      for (const report of use.reports ?? []) if (consumers & endConsumer[report.consumer]) report.onEnd(end);
    }
  }

  readonly #slotOf = (id: NetnsId): number => roomOf(this.#options.owners, id);

  readonly #homeOf = (slot: number): NetnsId | undefined =>
    slot < ownerSlot.first ? UNLISTED : this.#options.owners.ownerOf(slot)?.home;

  /** Walks the open sockets and updates the tables. */
  async #read(cycle: Cycle): Promise<void> {
    const { sockets } = this.#options.sources;
    const object = this.#object;
    if (object === undefined) return;
    if (this.#translates) await this.#translated?.open();
    const hasRows = sockets.health.reader === 'pass' && (await sockets.read(cycle)).hasRows;
    // Without a walk, only ended sockets are counted. The netlink fallback does not update rows.
    if (!hasRows && object === this.#object) this.#take(undefined);
  }

  /** Updates the tables after a walk. An error must not make the walk fail for other probes. */
  #walked(walk: RowsWalk): void {
    try {
      this.#take(walk);
    } catch (error) {
      this.#options.warn(`rows of TCP connections could not be read: ${(error as Error).message}`);
    }
  }

  /** Updates the tables. @param walk the walk that has just ended; undefined if no walk can run */
  #take(walk: RowsWalk | undefined): void {
    const object = this.#object;
    const room = this.#room;
    if (object === undefined || room === undefined) return;
    this.#left = walk?.left ?? 0;
    object.watchCopies();
    const taken = room.taken();
    const rows = object.shared.flow_rows.dump();
    const rests = object.rests();
    // The log is read after the rows, so that it contains all connections that the rows have counted.
    const translations = this.#translated;
    translations?.begin();
    for (const { use, table } of this.#users) {
      const isListening = use.roles?.includes('listener') === true;
      // If the table was created after the start of the walk, the walk has not read the sockets with the table's roles.
      const isUpdated =
        walk === undefined || (walk.updated & (isListening ? tcpRowsWanted.listens : tcpRowsWanted.flows)) !== 0;
      if (isUpdated) table?.take({ rows, rests, walk: walk?.walk, translations });
    }
    room.allow(taken, this.#clear(rows, walk?.evict));
  }

  /**
   * Deletes rows that the programs no longer update, and selects the next rows to evict.
   * @returns number of rows that each slot holds
   */
  #clear(rows: MapDump, evict: ((key: Uint8Array) => void) | undefined): Uint32Array {
    const held = new Uint32Array(SLOTS);
    const tables = [...this.#users].flatMap(({ table }) => table ?? []);
    const { view, keyAt } = rows;
    for (let index = 0; index < rows.count; index++) {
      const at = keyAt(index);
      if (this.#evicting.size > 0 && this.#removeEvicted(tables, rows, index)) continue;
      const netns = asNetnsId(flowKey.netns(view, at));
      const slot = this.#slotOf(netns);
      held[slot] = (held[slot] as number) + 1;
      const why = evict === undefined ? undefined : this.#whyEvict(tables, rows, index, netns);
      if (why === undefined) continue;
      evict?.(new Uint8Array(view.buffer.slice(at, at + flowKey.SIZE)));
      this.#evicting.set(keyText(view, at), why === 'room');
    }
    return held;
  }

  /** Deletes a row if the programs no longer update it. Returns whether it was deleted. */
  #removeEvicted(tables: readonly FlowTable[], { view, keyAt, valueAt }: MapDump, index: number): boolean {
    const at = keyAt(index);
    const text = keyText(view, at);
    const isForRoom = this.#evicting.get(text);
    if (isForRoom === undefined) return false;
    this.#evicting.delete(text);
    for (const table of tables) table.deleted(text, view, valueAt(index));
    this.#object?.shared.flow_rows.delete(new Uint8Array(view.buffer.slice(at, at + flowKey.SIZE)));
    if (isForRoom) this.#evicted++;
    return true;
  }

  /**
   * Returns why a row is to be evicted: `room` if its owner has few free rows, `over` if the row is no longer needed.
   * Returns undefined if the row stays, for example because it is in use.
   */
  #whyEvict(tables: readonly FlowTable[], rows: MapDump, index: number, netns: NetnsId): 'room' | 'over' | undefined {
    let isKnown = false;
    let isOver = false;
    for (const table of tables) {
      const row = table.rowOf(rows, index);
      if (row === undefined) continue;
      if (!table.isIdle(row)) return undefined;
      isKnown = true;
      isOver ||= table.isOver(row);
    }
    if (this.#room?.isCrowded(netns) === true) return 'room';
    return isOver || !isKnown ? 'over' : undefined;
  }

  #watch({ table }: User, mayBeTranslated: (row: FlowRow) => boolean): void {
    const object = this.#object;
    if (object === undefined || table === undefined) return;
    const isPossible = this.#translated?.isOpen === true;
    for (const row of table.current) {
      const isWanted = isPossible && mayBeTranslated(row);
      if (isWanted === row.isWatched) continue;
      row.isWatched = isWanted;
      object.watch(row.key as string, isWanted);
    }
  }

  #sweep(isDead: (id: NetnsId) => boolean): void {
    const object = this.#object;
    if (object === undefined) return;
    object.watchCopies();
    object.instance.sweep(isDead);
    // Reading all rows from the kernel takes far longer than checking the rows in the tables.
    if (![...this.#users].some(({ table }) => table?.hasAny(isDead))) return;
    const map = object.shared.flow_rows;
    const { count, view, keyAt, valueAt } = map.dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      if (!isDead(asNetnsId(flowKey.netns(view, at)))) continue;
      const text = keyText(view, at);
      for (const { table } of this.#users) table?.deleted(text, view, valueAt(index));
      this.#evicting.delete(text);
      map.delete(new Uint8Array(view.buffer.slice(at, at + flowKey.SIZE)));
    }
  }
}

function permille(share: number | undefined): number {
  return Math.round((share ?? 0) * 1_000);
}
