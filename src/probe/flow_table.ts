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
/** Number of takes without a change after which a row without open sockets may be evicted. */
const IDLE_TAKES = 2;
/** Number of takes for which an ended row waits to be counted: collections may fail. */
const ENDED_TAKES = 8;

/** Finds the owners of rows. */
export interface FlowOwners {
  /** Returns the slot of the owner of a namespace. */
  slotOf(id: NetnsId): number;
  /** Returns the namespace under which the rest of an owner is shown; undefined where the owner is gone. */
  homeOf(slot: number): NetnsId | undefined;
}

/** Rows of the kernel right after a walk. */
export interface FlowDump {
  readonly rows: MapDump;
  /** The rests, by slot and role; undefined while they are empty. */
  readonly rests: MapDump | undefined;
  /** Number of the walk; undefined where none has run, so that the counts of open sockets come only when they end. */
  readonly walk: number | undefined;
}

/** Returns the bytes of a struct flow_key as text. */
export function keyText(view: DataView, at: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, flowKey.SIZE).toString('latin1');
}

/**
 * Makes the rows of the kernel into totals that are exact and never fall (ADR 37).
 *
 * A row of the kernel has the counts of ended sockets and, right after a walk, those of open ones. A socket that ends during a walk is
 * missing until the next one, so smaller values than before are not shown. Connections that find no room for a row are in the rest of
 * their owner. When a later connection makes room for such a row, its values so far stay in the rest.
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
  /** Whether the open sockets were read before. */
  #hasWalked = false;

  /** @param has whether the table has the rows of a role */
  constructor(owners: FlowOwners, has: (role: FlowRole) => boolean) {
    this.#owners = owners;
    this.#has = has;
  }

  /** Returns all rows, including those that end now. */
  *rows(): Generator<FlowRow> {
    yield* this.#rows.values();
    yield* this.#rests.values();
    yield* this.#ended;
  }

  /** Forgets an ended row: a collection has counted its last values. */
  counted(row: FlowRow): void {
    this.#ended.delete(row);
  }

  /** Number of rows that are not rests. */
  get size(): number {
    return this.#rows.size;
  }

  /** Takes the rows after a walk. Values are counted from the first take on: sockets may have been open for long by then. */
  take({ rows, rests, walk }: FlowDump): void {
    // The owner of a row may have left the page: then no collection counts it.
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

  /** Returns whether the table has a row of such a namespace. */
  hasAny(isSuch: (id: NetnsId) => boolean): boolean {
    for (const { place } of this.#rows.values()) if (isSuch(place.netns)) return true;
    return false;
  }

  /** Returns whether a row may be evicted; true for a row that this table does not have. */
  isIdle(text: string): boolean {
    const row = this.#rows.get(text);
    return row === undefined || (row.open === 0 && row.idle >= IDLE_TAKES);
  }

  /** Takes the last values of a row that is deleted now. */
  deleted(text: string, view: DataView, at: number): void {
    const row = this.#rows.get(text);
    if (row === undefined) return;
    this.#takeValues(row, view, at, undefined);
    this.#end(text);
  }

  /** Forgets the rests of a slot whose owner is gone. The maps have them at zero. */
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
    // Sockets that were open long before the first walk are no growth.
    if (walk !== undefined && !this.#hasWalked) row.rebase(this.#read(view, at, walk));
    const isGrown = row.take(this.#read(view, at, walk));
    row.open = isWalked(view, at, walk) ? flowRow.live(view, at) : 0;
    row.idle = isGrown || row.open > 0 ? 0 : row.idle + 1;
  }

  #read(view: DataView, at: number, walk: number | undefined): FlowValues {
    readValues(this.#values, view, at, isWalked(view, at, walk));
    return this.#values;
  }

  /** Returns the rests with sockets that may be in a row from now on: they had open sockets, or have lost some. */
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
