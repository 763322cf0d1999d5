import type { MapDump } from 'bpf-napi';
import { flowKey, flowRow } from '#bpf/generated/common.ts';
import { formatIp } from '#core/address.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import {
  FLOW_ROLES,
  type FlowPlace,
  type FlowRole,
  FlowRow,
  type FlowValues,
  newValues,
  readValues,
} from './flow_row.ts';

const ROLES = FLOW_ROLES.length;
/** Number of consecutive updates without growth after which a row without open sockets may be evicted. */
const IDLE_TAKES = 2;
/** Maximum number of updates for which an ended row is kept until a collection has counted it. Collections may fail. */
const ENDED_TAKES = 8;

/** Finds the owners of rows. */
export interface FlowOwners {
  /** Returns the slot of the owner of a namespace. */
  slotOf(id: NetnsId): number;
  /** Returns the namespace under which the rest row of an owner is shown; undefined if the owner is gone. */
  homeOf(slot: number): NetnsId | undefined;
}

/** The kernel's rows right after a walk. */
export interface FlowDump {
  readonly rows: MapDump;
  /** Rest rows by slot and role; undefined if all of them are empty. */
  readonly rests: MapDump | undefined;
  /** Number of the walk; undefined if no walk has run, in which case sockets are counted only when they end. */
  readonly walk: number | undefined;
}

/** Returns the bytes of a struct flow_key as text. */
export function keyText(view: DataView, at: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, flowKey.SIZE).toString('latin1');
}

/**
 * Converts the kernel's rows into exact totals that never decrease (ADR 37).
 *
 * A row of the kernel contains the counts of ended sockets and, right after a walk, the counts of open sockets. A
 * socket that ends during a walk is missing until the next walk, so values that are smaller than before are not shown.
 * Connections for which there is no free row are counted in the rest row of their owner. If a later connection creates
 * a row for the same peer, the earlier counts stay in the rest row.
 */
export class FlowTable {
  readonly #owners: FlowOwners;
  readonly #has: (role: FlowRole) => boolean;
  readonly #rows = new Map<string, FlowRow>();
  readonly #rests = new Map<number, FlowRow>();
  readonly #values = newValues();
  readonly #ended = new Set<FlowRow>();
  #serial = 0;
  #isFirst = true;
  /** Whether an earlier update included open sockets. */
  #hasWalked = false;

  /** @param has returns whether the table contains rows of a role */
  constructor(owners: FlowOwners, has: (role: FlowRole) => boolean) {
    this.#owners = owners;
    this.#has = has;
  }

  /** Returns all rows, including rows that have ended. */
  *rows(): Generator<FlowRow> {
    yield* this.#rows.values();
    yield* this.#rests.values();
    yield* this.#ended;
  }

  /** Forgets an ended row after a collection has counted its last values. */
  counted(row: FlowRow): void {
    this.#ended.delete(row);
  }

  /** Number of rows, excluding rest rows and ended rows. */
  get size(): number {
    return this.#rows.size;
  }

  /**
   * Updates all rows after a walk. Only growth since the first update is counted, because sockets may have been open
   * for a long time before it.
   */
  take({ rows, rests, walk }: FlowDump): void {
    // If the owner of a row has left the page, no collection counts the row.
    for (const row of this.#ended) if (++row.idle > ENDED_TAKES) this.#ended.delete(row);
    const busy = this.#busyRests(rests, walk);
    const left = new Set(this.#rows.keys());
    for (let index = 0; index < rows.count; index++) {
      const role = FLOW_ROLES[flowKey.role(rows.view, rows.keyAt(index))];
      if (role === undefined || !this.#has(role)) continue;
      const text = keyText(rows.view, rows.keyAt(index));
      left.delete(text);
      const row = this.#rows.get(text) ?? this.#enter(text, rows, index, walk, busy);
      this.#takeValues(row, rows.view, rows.valueAt(index), walk);
    }
    for (const text of left) this.#end(text);
    if (rests !== undefined) this.#takeRests(rests, walk);
    this.#isFirst = false;
    this.#hasWalked ||= walk !== undefined;
  }

  has(text: string): boolean {
    return this.#rows.has(text);
  }

  /** Returns whether the table has a row of a namespace that meets the condition. */
  hasAny(isSuch: (id: NetnsId) => boolean): boolean {
    for (const { place } of this.#rows.values()) if (isSuch(place.netns)) return true;
    return false;
  }

  /** Returns whether this table permits the eviction of a row. Returns true for a row that is not in the table. */
  isIdle(text: string): boolean {
    const row = this.#rows.get(text);
    return row === undefined || (row.open === 0 && row.idle >= IDLE_TAKES);
  }

  /** Reads the last values of a row that is being deleted from the map. */
  deleted(text: string, view: DataView, at: number): void {
    const row = this.#rows.get(text);
    if (row === undefined) return;
    this.#takeValues(row, view, at, undefined);
    this.#end(text);
  }

  /** Forgets the rest rows of a slot whose owner is gone. The rows in the maps have already been reset to zero. */
  freed(slot: number): void {
    for (let role = 0; role < ROLES; role++) this.#rests.delete(slot * ROLES + role);
  }

  #end(text: string): void {
    const row = this.#rows.get(text);
    if (row === undefined) return;
    row.isLast = true;
    row.open = row.idle = 0;
    this.#rows.delete(text);
    this.#ended.add(row);
  }

  #enter(
    text: string,
    rows: MapDump,
    index: number,
    walk: number | undefined,
    busy: ReadonlyMap<number, FlowRow>,
  ): FlowRow {
    const { view } = rows;
    const key = rows.keyAt(index);
    const role = flowKey.role(view, key);
    const netns = asNetnsId(flowKey.netns(view, key));
    const row = this.#newRow({
      netns,
      cgroup: flowKey.cgroup(view, key),
      role: FLOW_ROLES[role] as FlowRole,
      peer: formatIp(flowKey.peer(view, key)),
      port: flowKey.port(view, key),
    });
    this.#rows.set(text, row);
    const rest = busy.get(this.#owners.slotOf(netns) * ROLES + role);
    if (this.#isFirst || rest !== undefined) row.base.set(this.#read(view, rows.valueAt(index), walk));
    rest?.keep(row.base);
    return row;
  }

  #newRow(place: FlowPlace): FlowRow {
    return new FlowRow(++this.#serial, place);
  }

  #takeValues(row: FlowRow, view: DataView, at: number, walk: number | undefined): void {
    // Sockets that were open before the first walk must not count as growth.
    if (walk !== undefined && !this.#hasWalked) row.rebase(this.#read(view, at, walk));
    const isGrown = row.take(this.#read(view, at, walk));
    row.open = isWalked(view, at, walk) ? flowRow.live(view, at) : 0;
    row.idle = isGrown || row.open > 0 ? 0 : row.idle + 1;
  }

  #read(view: DataView, at: number, walk: number | undefined): FlowValues {
    readValues(this.#values, view, at, isWalked(view, at, walk));
    return this.#values;
  }

  /**
   * Returns the rest rows whose sockets may now be counted in another row, because they had open sockets or their
   * values would decrease.
   */
  #busyRests(rests: MapDump | undefined, walk: number | undefined): Map<number, FlowRow> {
    const busy = new Map<number, FlowRow>();
    if (rests === undefined || this.#isFirst) return busy;
    for (const [place, rest] of this.#rests) {
      if (rest.open > 0 || rest.wouldFall(this.#read(rests.view, rests.valueAt(place), walk))) busy.set(place, rest);
    }
    return busy;
  }

  #takeRests({ count, view, valueAt }: MapDump, walk: number | undefined): void {
    for (let place = 0; place < count; place++) {
      const role = FLOW_ROLES[place % ROLES] as FlowRole;
      const at = valueAt(place);
      if (!this.#has(role)) continue;
      const rest = this.#rests.get(place) ?? this.#enterRest(place, role, view, at, walk);
      if (rest !== undefined) this.#takeValues(rest, view, at, walk);
    }
  }

  #enterRest(place: number, role: FlowRole, view: DataView, at: number, walk: number | undefined): FlowRow | undefined {
    if (!isUsed(view, at)) return undefined;
    const netns = this.#owners.homeOf(Math.floor(place / ROLES));
    if (netns === undefined) return undefined;
    const rest = this.#newRow({ netns, cgroup: 0, role, peer: '*', port: undefined });
    this.#rests.set(place, rest);
    if (this.#isFirst) rest.base.set(this.#read(view, at, walk));
    return rest;
  }
}

function isWalked(view: DataView, at: number, walk: number | undefined): boolean {
  return walk !== undefined && flowRow.walk(view, at) === walk;
}

/** Returns whether a row has counted anything. */
function isUsed(view: DataView, at: number): boolean {
  for (let byte = 0; byte < flowRow.SIZE; byte += 4) if (view.getUint32(at + byte, true) !== 0) return true;
  return false;
}
