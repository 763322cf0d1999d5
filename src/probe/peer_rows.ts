import type { BpfObject } from 'bpf-napi';
import { ownerSlot } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import { addCounters, type Counter, readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { type Fate, fateOf } from './fate.ts';
import type { HostPods } from './host_pods.ts';
import type { Owners } from './owners.ts';
import type { Retained } from './retained.ts';
import type { NotShown, Uncounted } from './status.ts';
import { hasRest, readMisses, slotOfRest, type Tally } from './tally.ts';

/** Offset of the cgroup in a key. */
const CGROUP_AT = 8;
/** Maximum number of ended rows that wait for a collection. When it is reached, idle rows are no longer ended. */
const ENDED_MAX = 16_384;

/** A row as it is passed to a collection. */
export interface ShownPeerRow<Labels, Counts> {
  /** Unique number of the row, which is never reused. */
  readonly id: number;
  readonly subject: NetnsId;
  readonly labels: Labels;
  readonly counts: Counts;
  readonly isLast: boolean;
}

/** Arithmetic of the counts of a row. */
export interface PeerCounts<Counts> {
  readonly nothing: Counts;
  minus(a: Counts, b: Counts): Counts;
  /** Returns a number that increases whenever any of the counts does. */
  weightOf(counts: Counts): Counter;
}

/** How the rows of a map are read. */
export interface PeerRowsKind<Labels, Counts> extends PeerCounts<Counts> {
  /** Name of the map. Its keys begin with the cookie of a namespace and the ID of a cgroup. */
  readonly map: string;
  /** Program that makes the other programs stop counting in the row with the key in its arguments. */
  readonly leave: string;
  /** Name and labels of an array with the rest rows by slot; undefined if these rows are in the map itself. */
  readonly rests?: { readonly map: string; readonly labels: Labels };
  /** @param isRest whether the row counts what has no row of its own */
  labelsOf(view: DataView, at: number, isRest: boolean): Labels;
  countsOf(view: DataView, at: number): Counts;
}

/** A row in the kernel. */
interface Held<Labels, Counts> {
  id: number;
  /** Slot whose requests a rest row counts. */
  readonly slot: number | undefined;
  netns: NetnsId;
  /** ID of the sockets' cgroup if they are in the node's namespace; otherwise 0. */
  readonly cgroup: Counter;
  readonly labels: Labels;
  counts: Counts;
  /** Part of the counts that has been shown under an earlier ID. */
  moved: Counts;
  fate: Fate;
  changedMs: number;
  /** Whether the programs have been told to stop counting in the row. */
  isLeaving: boolean;
}

/** State of earlier runs. */
export interface EarlierPeerRows<Labels, Counts> {
  nextId: number;
  /** Rows that are no longer counted under their ID, by ID. They are kept until a collection has counted them. */
  readonly ended: Map<number, ShownPeerRow<Labels, Counts>>;
  /** Weight of ended rows that have been dropped, by namespace. */
  readonly forgotten: Map<NetnsId, Counter>;
  departed: Counter;
  uncounted: Uncounted;
}

export function noPeerRows<Labels, Counts>(): EarlierPeerRows<Labels, Counts> {
  return { nextId: 1, ended: new Map(), forgotten: new Map(), departed: 0, uncounted: {} };
}

export interface PeerRowsOptions {
  readonly hostPods: Pick<HostPods, 'find' | 'subjectOf'>;
  /** Milliseconds without new counts after which a row ends. */
  readonly idleMs: number;
  readonly nowMs?: () => number;
}

/**
 * Rows of this run and of earlier runs. A row ends in two steps, so that nothing is lost: a sweep makes the programs
 * stop counting in the row, and the next sweep reads the final counts and deletes the row. An ended row is returned to
 * collections until one of them has counted it.
 */
export class PeerRows<Labels, Counts> implements Tally {
  readonly map: string;
  readonly #kind: PeerRowsKind<Labels, Counts>;
  readonly #object: BpfObject;
  readonly #owners: Owners;
  readonly #earlier: EarlierPeerRows<Labels, Counts>;
  readonly #hostPods: Pick<HostPods, 'find' | 'subjectOf'>;
  /** Milliseconds without a change after which a row is freed. */
  idleMs: number;
  readonly #nowMs: () => number;
  /** Cgroups whose Pods have been looked up. The rows of other cgroups are not shown yet. */
  #found: ReadonlySet<Counter> = new Set();
  /** Rows by key. Each character stands for one byte of the key. */
  readonly #rows = new Map<string, Held<Labels, Counts>>();
  /** Rest rows by key. They contain what no free row was left for. */
  readonly #rests = new Map<string, Held<Labels, Counts>>();
  #waiting: Counter = 0;

  constructor(
    object: BpfObject,
    kind: PeerRowsKind<Labels, Counts>,
    owners: Owners,
    earlier: Retained<EarlierPeerRows<Labels, Counts>>,
    { hostPods, idleMs, nowMs = () => performance.now() }: PeerRowsOptions,
  ) {
    this.map = kind.map;
    this.#kind = kind;
    this.#object = object;
    this.#owners = owners;
    this.#earlier = earlier.value;
    this.#hostPods = hostPods;
    this.idleMs = idleMs;
    this.#nowMs = nowMs;
  }

  /** Looks up the Pods of the rows in the node's namespace. Must be awaited before `rows` is called. */
  async find(): Promise<void> {
    this.#read();
    const cgroups = new Set([...this.#held()].map(({ cgroup }) => cgroup).filter((cgroup) => cgroup !== 0));
    await this.#hostPods.find(cgroups);
    this.#found = cgroups;
  }

  rows(): ShownPeerRow<Labels, Counts>[] {
    this.#read();
    this.#waiting = 0;
    const shown: ShownPeerRow<Labels, Counts>[] = [];
    for (const row of this.#held()) {
      this.#settle(row);
      const { id, fate, labels } = row;
      const counts = this.#kind.minus(row.counts, row.moved);
      if (fate === 'waiting') this.#waiting = addCounters(this.#waiting, this.#kind.weightOf(counts));
      else if (fate !== 'departed') shown.push({ id, subject: fate, labels, counts, isLast: false });
    }
    return [...shown, ...this.#earlier.ended.values()];
  }

  /** Drops an ended row after a collection has counted it. */
  counted({ id, subject, counts }: ShownPeerRow<Labels, Counts>): void {
    if (!this.#earlier.ended.delete(id)) return;
    const before = this.#earlier.forgotten.get(subject) ?? 0;
    this.#earlier.forgotten.set(subject, addCounters(before, this.#kind.weightOf(counts)));
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
        this.#object.map(this.map).delete(Buffer.from(key, 'latin1'));
        this.#rows.delete(key);
        this.#end(row);
        continue;
      }
      left.set(row.netns, (left.get(row.netns) ?? 0) + 1);
      if (nowMs - row.changedMs >= this.idleMs) this.#announceEnd(key, row);
    }
    this.#sweepEnded((id) => id !== UNLISTED && (isDead(id) || this.#owners.hasDeparted(id)));
    return left;
  }

  freed(slot: number): void {
    this.#read();
    const { rests } = this.#kind;
    for (const [key, row] of this.#rests) {
      if (row.slot !== slot) continue;
      this.#rests.delete(key);
      this.#depart(this.#kind.weightOf(this.#kind.minus(row.counts, row.moved)));
      if (rests === undefined) this.#object.map(this.map).delete(Buffer.from(key, 'latin1'));
    }
    if (rests === undefined) return;
    const map = this.#object.map(rests.map);
    map.update(bytesOf(slot), new Uint8Array(map.valueBytes));
  }

  remember(): void {
    this.#read();
    for (const row of this.#held()) {
      this.#settle(row);
      this.#end(row);
    }
    this.#earlier.uncounted = this.uncounted();
  }

  *#held(): Generator<Held<Labels, Counts>> {
    yield* this.#rows.values();
    yield* this.#rests.values();
  }

  #read(): void {
    const map = this.#object.map(this.map);
    const { count, view, keyAt, valueAt } = map.dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      const key = Buffer.from(view.buffer, view.byteOffset + at, map.keyBytes).toString('latin1');
      const netns = asNetnsId(readCounter(view, at));
      const counts = this.#kind.countsOf(view, valueAt(index));
      const slot = slotOfRest(netns);
      if (slot !== undefined) {
        this.#readRest(key, slot, counts, () => this.#kind.labelsOf(view, at, true));
        continue;
      }
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = this.#newRow(undefined, netns, readCounter(view, at + CGROUP_AT), this.#kind.labelsOf(view, at, false));
        this.#rows.set(key, row);
      }
      this.#update(row, counts);
    }
    const { rests } = this.#kind;
    if (rests === undefined || !hasRest(this.#object)) return;
    const dump = this.#object.map(rests.map).dump();
    for (let index = 0; index < dump.count; index++) {
      const slot = dump.view.getUint32(dump.keyAt(index), true);
      this.#readRest(String(slot), slot, this.#kind.countsOf(dump.view, dump.valueAt(index)), () => rests.labels);
    }
  }

  #readRest(key: string, slot: number, counts: Counts, labelsOf: () => Labels): void {
    if (this.#kind.weightOf(counts) === 0) return;
    const home = slot < ownerSlot.first ? UNLISTED : this.#owners.ownerOf(slot)?.home;
    if (home === undefined) return;
    const row = this.#rests.get(key) ?? this.#newRow(slot, home, 0, labelsOf());
    this.#rests.set(key, row);
    row.netns = home;
    this.#update(row, counts);
  }

  #newRow(slot: number | undefined, netns: NetnsId, cgroup: Counter, labels: Labels): Held<Labels, Counts> {
    const id = this.#earlier.nextId++;
    return {
      id,
      slot,
      netns,
      cgroup,
      labels,
      counts: this.#kind.nothing,
      moved: this.#kind.nothing,
      fate: 'waiting',
      changedMs: this.#nowMs(),
      isLeaving: false,
    };
  }

  #update(row: Held<Labels, Counts>, counts: Counts): void {
    if (this.#kind.weightOf(counts) === this.#kind.weightOf(row.counts)) return;
    row.counts = counts;
    row.changedMs = this.#nowMs();
  }

  /** Determines where the row is shown from now on. Counts that have already been shown remain where they are. */
  #settle(row: Held<Labels, Counts>): void {
    const fate = this.#fateOf(row);
    if (row.fate !== 'waiting' && row.fate !== fate) this.#leave(row);
    row.fate = fate;
    if (fate === 'departed') this.#leave(row);
  }

  #fateOf({ netns, cgroup }: Held<Labels, Counts>): Fate {
    if (cgroup !== 0 && !this.#found.has(cgroup)) return 'waiting';
    const pod = this.#hostPods.subjectOf(cgroup);
    if (pod === undefined) return fateOf(this.#owners, netns);
    return this.#owners.hasDeparted(pod) ? 'departed' : pod;
  }

  /** Ends the row where it has been shown so far. Further counts get a new ID. */
  #leave(row: Held<Labels, Counts>): void {
    const { id, fate, labels } = row;
    const counts = this.#kind.minus(row.counts, row.moved);
    row.moved = row.counts;
    row.id = this.#earlier.nextId++;
    if (fate === 'departed') this.#depart(this.#kind.weightOf(counts));
    else if (fate !== 'waiting') this.#earlier.ended.set(id, { id, subject: fate, labels, counts, isLast: true });
  }

  /**
   * Ends a row that was deleted in the kernel. If no owner was found, its counts are shown as unlisted or, in the
   * node's namespace, as the node's.
   */
  #end(row: Held<Labels, Counts>): void {
    if (row.fate === 'waiting') row.fate = row.cgroup === 0 ? UNLISTED : row.netns;
    this.#leave(row);
  }

  #announceEnd(key: string, row: Held<Labels, Counts>): void {
    if (row.fate === 'waiting' || this.#earlier.ended.size >= ENDED_MAX) return;
    const bytes = Uint8Array.from(key, (character) => character.charCodeAt(0));
    this.#object.run(this.#kind.leave, new BigUint64Array(bytes.buffer));
    row.isLeaving = true;
  }

  #sweepEnded(isGone: (id: NetnsId) => boolean): void {
    const { ended, forgotten } = this.#earlier;
    for (const [id, { subject, counts }] of ended) {
      if (!isGone(subject)) continue;
      ended.delete(id);
      this.#depart(this.#kind.weightOf(counts));
    }
    for (const [subject, weight] of forgotten) {
      if (!isGone(subject)) continue;
      forgotten.delete(subject);
      this.#depart(weight);
    }
  }

  #depart(weight: Counter): void {
    this.#earlier.departed = addCounters(this.#earlier.departed, weight);
  }
}
