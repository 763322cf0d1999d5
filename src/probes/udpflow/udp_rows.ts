import type { BpfObject } from 'bpf-napi';
import { ownerSlot } from '#bpf/generated/common.ts';
import { type Layout, udpKey, udpRole, udpRow } from '#bpf/generated/udpflow.ts';
import { nameOf } from '#bpf/layout.ts';
import { formatIp } from '#core/address.ts';
import { addCounters, type Counter, subtractCounters } from '#core/counter.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import type { Owners } from '#probe/owners.ts';
import { defineRetained, type Retained } from '#probe/retained.ts';
import { bytesOf } from '#probe/room.ts';
import type { NotShown, Uncounted } from '#probe/status.ts';
import { hasRest, readMisses, type Tally } from '#probe/tally.ts';

export const ROWS: Layout['map'] = 'udp_rows';
const REST: Layout['map'] = 'udp_rest';
/** Program that stops counting in a row before the row is deleted. */
export const LEAVE: Layout['program'] = 'udp_leave';

/** Maximum number of ended rows that wait for a collection. At this number, idle rows are no longer ended. */
const ENDED_MAX = 16_384;

export interface EdgeLabels extends Readonly<Record<string, string>> {
  readonly role: string;
  readonly peer: string;
  readonly port: string;
}

/** Labels of datagrams without a row of their own. */
const REST_LABELS: EdgeLabels = { role: '*', peer: '*', port: '*' };

export interface UdpCounts {
  /** Bytes of payload. */
  readonly sentBytes: Counter;
  readonly receivedBytes: Counter;
  readonly sentDatagrams: Counter;
  readonly receivedDatagrams: Counter;
}

const NOTHING: UdpCounts = { sentBytes: 0, receivedBytes: 0, sentDatagrams: 0, receivedDatagrams: 0 };

/** A row for a collection. */
export interface ShownRow {
  /** Unique number of the row. It is never reused. */
  readonly id: number;
  readonly subject: NetnsId;
  readonly labels: EdgeLabels;
  readonly counts: UdpCounts;
  readonly isLast: boolean;
}

/**
 * Namespace under which a row is shown. `waiting` means that its owner is still being searched for, `departed` that its
 * owner has left the page.
 */
type Fate = NetnsId | 'waiting' | 'departed';

/** A row that the kernel holds. */
interface Held {
  id: number;
  netns: NetnsId;
  readonly labels: EdgeLabels;
  counts: UdpCounts;
  /** Part of the counts that was shown earlier under another ID. */
  moved: UdpCounts;
  fate: Fate;
  changedMs: number;
  /** True if the programs were told to stop counting in the row. */
  isLeaving: boolean;
}

interface Earlier {
  nextId: number;
  /** Rows that were deleted in the kernel, by ID. They are kept until a collection has counted them. */
  readonly ended: Map<number, ShownRow>;
  /** Number of datagrams of forgotten rows, by namespace. */
  readonly forgotten: Map<NetnsId, Counter>;
  departed: Counter;
  uncounted: Uncounted;
}

export const UDP_ROWS = defineRetained<Earlier>(() => ({
  nextId: 1,
  ended: new Map(),
  forgotten: new Map(),
  departed: 0,
  uncounted: {},
}));

export interface UdpRowsOptions {
  /** Milliseconds without a new count after which a row ends. */
  readonly idleMs: number;
  readonly nowMs?: () => number;
}

/**
 * The kernel's rows, including those of earlier runs. A row ends in two steps, so that no packet is lost: a sweep tells
 * the programs to stop counting in the row, and the next sweep reads the row a last time and deletes it. An ended row
 * is returned to collections until one of them has counted it.
 */
export class UdpRows implements Tally {
  readonly map = ROWS;
  readonly #object: BpfObject;
  readonly #owners: Owners;
  readonly #earlier: Earlier;
  readonly #idleMs: number;
  readonly #nowMs: () => number;
  /** Rows by key. Each byte of the key is one character. */
  readonly #rows = new Map<string, Held>();
  /** Rest rows by slot, for datagrams without a row of their own. */
  readonly #rests = new Map<number, Held>();
  #waiting: Counter = 0;

  constructor(
    object: BpfObject,
    owners: Owners,
    earlier: Retained<Earlier>,
    { idleMs, nowMs = () => performance.now() }: UdpRowsOptions,
  ) {
    this.#object = object;
    this.#owners = owners;
    this.#earlier = earlier.value;
    this.#idleMs = idleMs;
    this.#nowMs = nowMs;
  }

  rows(): ShownRow[] {
    this.#read();
    this.#waiting = 0;
    const shown: ShownRow[] = [];
    for (const row of this.#held()) {
      this.#settle(row);
      const { id, fate, labels } = row;
      const counts = minus(row.counts, row.moved);
      if (fate === 'waiting') this.#waiting = addCounters(this.#waiting, datagramsOf(counts));
      else if (fate !== 'departed') shown.push({ id, subject: fate, labels, counts, isLast: false });
    }
    return [...shown, ...this.#earlier.ended.values()];
  }

  /** Forgets an ended row after a collection has counted it. */
  counted({ id, subject, counts }: ShownRow): void {
    if (!this.#earlier.ended.delete(id)) return;
    const before = this.#earlier.forgotten.get(subject) ?? 0;
    this.#earlier.forgotten.set(subject, addCounters(before, datagramsOf(counts)));
  }

  uncounted(): Uncounted {
    const { map_full, untracked, no_netns } = readMisses(this.#object, this.#earlier.uncounted);
    return { map_full, untracked, no_netns };
  }

  notShown(): NotShown {
    return { departed: this.#earlier.departed, waiting: this.#waiting };
  }

  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number> {
    this.#read();
    const left = new Map<NetnsId, number>();
    const nowMs = this.#nowMs();
    for (const [key, row] of this.#rows) {
      this.#settle(row);
      if (isDead(row.netns) || row.isLeaving) {
        this.#object.map(ROWS).delete(Buffer.from(key, 'latin1'));
        this.#rows.delete(key);
        this.#end(row);
        continue;
      }
      left.set(row.netns, (left.get(row.netns) ?? 0) + 1);
      if (nowMs - row.changedMs >= this.#idleMs) this.#announceEnd(key, row);
    }
    this.#sweepEnded((id) => id !== UNLISTED && (isDead(id) || this.#owners.hasDeparted(id)));
    return left;
  }

  freed(slot: number): void {
    this.#readRests();
    const row = this.#rests.get(slot);
    this.#rests.delete(slot);
    if (row !== undefined) this.#depart(datagramsOf(minus(row.counts, row.moved)));
    this.#object.map(REST).update(bytesOf(slot), new Uint8Array(udpRow.SIZE));
  }

  remember(): void {
    this.#read();
    for (const row of this.#held()) {
      this.#settle(row);
      this.#end(row);
    }
    this.#earlier.uncounted = this.uncounted();
  }

  *#held(): Generator<Held> {
    yield* this.#rows.values();
    yield* this.#rests.values();
  }

  #read(): void {
    const { count, view, keyAt, valueAt } = this.#object.map(ROWS).dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      const key = Buffer.from(view.buffer, view.byteOffset + at, udpKey.SIZE).toString('latin1');
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = this.#newRow(asNetnsId(udpKey.netns(view, at)), labelsOf(view, at));
        this.#rows.set(key, row);
      }
      this.#update(row, countsOf(view, valueAt(index)));
    }
    this.#readRests();
  }

  #readRests(): void {
    if (!hasRest(this.#object)) return;
    const { count, view, keyAt, valueAt } = this.#object.map(REST).dump();
    for (let index = 0; index < count; index++) {
      const counts = countsOf(view, valueAt(index));
      if (datagramsOf(counts) === 0) continue;
      const slot = view.getUint32(keyAt(index), true);
      const home = slot < ownerSlot.first ? UNLISTED : this.#owners.ownerOf(slot)?.home;
      if (home === undefined) continue;
      const row = this.#rests.get(slot) ?? this.#newRow(home, REST_LABELS);
      this.#rests.set(slot, row);
      row.netns = home;
      this.#update(row, counts);
    }
  }

  #newRow(netns: NetnsId, labels: EdgeLabels): Held {
    const id = this.#earlier.nextId++;
    return {
      id,
      netns,
      labels,
      counts: NOTHING,
      moved: NOTHING,
      fate: 'waiting',
      changedMs: this.#nowMs(),
      isLeaving: false,
    };
  }

  #update(row: Held, counts: UdpCounts): void {
    if (datagramsOf(counts) === datagramsOf(row.counts)) return;
    row.counts = counts;
    row.changedMs = this.#nowMs();
  }

  /** Decides where the row is shown from now on. Earlier counts stay where they were shown. */
  #settle(row: Held): void {
    const fate = this.#fateOf(row.netns);
    if (row.fate !== 'waiting' && row.fate !== fate) this.#leave(row);
    row.fate = fate;
    if (fate === 'departed') this.#leave(row);
  }

  #fateOf(id: NetnsId): Fate {
    if (id === UNLISTED) return UNLISTED;
    const home = this.#owners.homeOf(id);
    if (this.#owners.hasDeparted(home)) return 'departed';
    if (this.#owners.wasOwned(id)) return home;
    return this.#owners.isUnowned(id) ? UNLISTED : 'waiting';
  }

  /** Ends the row at the place where it was shown. Further counts get a new ID. */
  #leave(row: Held): void {
    const { id, fate, labels } = row;
    const counts = minus(row.counts, row.moved);
    row.moved = row.counts;
    row.id = this.#earlier.nextId++;
    if (fate === 'departed') this.#depart(datagramsOf(counts));
    else if (fate !== 'waiting') this.#earlier.ended.set(id, { id, subject: fate, labels, counts, isLast: true });
  }

  /** Ends a row that was deleted in the kernel. If no owner was found, its counts are shown as unlisted. */
  #end(row: Held): void {
    if (row.fate === 'waiting') row.fate = UNLISTED;
    this.#leave(row);
  }

  #announceEnd(key: string, row: Held): void {
    if (row.fate === 'waiting' || this.#earlier.ended.size >= ENDED_MAX) return;
    const bytes = Uint8Array.from(key, (character) => character.charCodeAt(0));
    this.#object.run(LEAVE, new BigUint64Array(bytes.buffer));
    row.isLeaving = true;
  }

  #sweepEnded(isGone: (id: NetnsId) => boolean): void {
    const { ended, forgotten } = this.#earlier;
    for (const [id, { subject, counts }] of ended) {
      if (!isGone(subject)) continue;
      ended.delete(id);
      this.#depart(datagramsOf(counts));
    }
    for (const [subject, datagrams] of forgotten) {
      if (!isGone(subject)) continue;
      forgotten.delete(subject);
      this.#depart(datagrams);
    }
  }

  #depart(datagrams: Counter): void {
    this.#earlier.departed = addCounters(this.#earlier.departed, datagrams);
  }
}

function labelsOf(view: DataView, at: number): EdgeLabels {
  return {
    role: nameOf(udpRole, udpKey.role(view, at)) ?? '',
    peer: formatIp(udpKey.peer(view, at)),
    port: String(udpKey.port(view, at)),
  };
}

function countsOf(view: DataView, at: number): UdpCounts {
  return {
    sentBytes: udpRow.sentBytes(view, at),
    receivedBytes: udpRow.receivedBytes(view, at),
    sentDatagrams: udpRow.sentDatagrams(view, at),
    receivedDatagrams: udpRow.receivedDatagrams(view, at),
  };
}

function minus(a: UdpCounts, b: UdpCounts): UdpCounts {
  if (b === NOTHING) return a;
  return {
    sentBytes: subtractCounters(a.sentBytes, b.sentBytes),
    receivedBytes: subtractCounters(a.receivedBytes, b.receivedBytes),
    sentDatagrams: subtractCounters(a.sentDatagrams, b.sentDatagrams),
    receivedDatagrams: subtractCounters(a.receivedDatagrams, b.receivedDatagrams),
  };
}

function datagramsOf({ sentDatagrams, receivedDatagrams }: UdpCounts): Counter {
  return addCounters(sentDatagrams, receivedDatagrams);
}
