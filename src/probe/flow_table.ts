import type { MapDump } from 'bpf-napi';
import { flowKey, flowRow } from '#bpf/generated/common.ts';
import { formatIp } from '#core/address.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DumpPlaces } from './dump_places.ts';
import { type FlowDump, isUsed, isWalked, keyText, type RowTranslations } from './flow_dump.ts';
import {
  FLOW_ROLES,
  type FlowPlace,
  type FlowRole,
  FlowRow,
  type FlowValues,
  newValues,
  readValues,
} from './flow_row.ts';
import type { PeerIdentity } from './peer_identity.ts';

const ROLES = FLOW_ROLES.length;
/** Number of consecutive updates without an increase after which a row without open sockets may be evicted. */
const IDLE_TAKES = 2;
/**
 * Milliseconds without an increase and without open sockets after which the row of a cgroup may be evicted. By then,
 * the cgroup has probably been removed. Other rows are deleted together with their namespace.
 */
const CGROUP_IDLE_MS = 600_000;
/**
 * Maximum number of updates for which an ended row is kept until a collection has counted it. More than one is allowed,
 * because a collection may fail.
 */
const ENDED_TAKES = 8;

/** Finds the owners of rows. */
export interface FlowOwners {
  /** Returns the slot of the owner of a namespace. */
  slotOf(id: NetnsId): number;
  /** Returns the namespace under which the rest row of an owner is shown; undefined if the owner no longer exists. */
  homeOf(slot: number): NetnsId | undefined;
}

/** Identities of the peers of rows. A row whose identity is undefined has not been assigned one yet. */
export interface RowIdentities {
  /** Called before each update of the rows. */
  begin(): void;
  /** Returns whether the identity of a row's peer has changed since it was assigned. */
  isStale(row: FlowRow): boolean;
  /**
   * Returns the identity to which the increase of a row in this update is attributed.
   * @param isGrown whether the row has increased; if not, the identity applies to future increases
   */
  of(row: FlowRow, isGrown: boolean): PeerIdentity;
}

/**
 * Converts the rows in the kernel to exact totals that never decrease (ADR 37).
 *
 * A row in the kernel contains the counts of ended sockets and, right after a walk, the counts of open sockets. The
 * counts of a socket that ends during a walk are missing until the next walk, so values that are smaller than before
 * are not used. Connections for which there is no free row are counted in the rest row of their owner. If a later
 * connection creates a row for the same peer, the earlier counts stay in the rest row.
 */
export class FlowTable {
  readonly #owners: FlowOwners;
  readonly #has: (role: FlowRole) => boolean;
  readonly #identities: RowIdentities | undefined;
  readonly #nowMs: () => number;
  readonly #rows = new Map<string, FlowRow>();
  readonly #rests = new Map<number, FlowRow>();
  readonly #places = new DumpPlaces();
  readonly #values = newValues();
  readonly #restValues = newValues();
  /**
   * Rest rows by row, for rows in which the previous walk found sockets that the rest row had counted before. A socket
   * that ended during that walk is still counted in the rest row, and appears in the other row only now.
   */
  #left = new Map<FlowRow, FlowRow>();
  #leaving = new Map<FlowRow, FlowRow>();
  readonly #ended = new Set<FlowRow>();
  #serial = 0;
  /** Number of updates so far. */
  #takes = 0;
  /** Time of the last update in milliseconds of the table's clock. */
  #takenMs = 0;
  #isFirst = true;
  /** Whether an earlier update included open sockets. */
  #hasWalked = false;

  /**
   * @param has returns whether the table contains rows of a role
   * @param identities identities of peers; by default, the identity of a row never changes
   * @param nowMs returns milliseconds of a monotonic clock
   */
  constructor(
    owners: FlowOwners,
    has: (role: FlowRole) => boolean,
    identities?: RowIdentities,
    nowMs = () => performance.now(),
  ) {
    this.#owners = owners;
    this.#has = has;
    this.#identities = identities;
    this.#nowMs = nowMs;
  }

  /** Returns all rows, including rows that have ended. */
  rows(): FlowRow[] {
    return [...this.#rows.values(), ...this.#rests.values(), ...this.#ended];
  }

  /** Drops an ended row after a collection has counted its last values. */
  counted(row: FlowRow): void {
    this.#ended.delete(row);
  }

  /** Rows that count connections with a peer, excluding rest rows and ended rows. */
  get current(): Iterable<FlowRow> {
    return this.#rows.values();
  }

  /** Number of rows, not including rest rows and ended rows. */
  get size(): number {
    return this.#rows.size;
  }

  /**
   * Updates all rows after a walk. Only increases since the first update count, because sockets may have been open long
   * before it.
   */
  take({ rows, rests, walk, translations }: FlowDump): void {
    // Collections do not count the ended rows of an owner that is no longer shown, so these rows expire after several
    // updates.
    for (const row of this.#ended) if (++row.idle > ENDED_TAKES) this.#ended.delete(row);
    this.#identities?.begin();
    const busy = this.#busyRests(rests, walk);
    this.#takes++;
    this.#takenMs = this.#nowMs();
    if (walk !== undefined) [this.#left, this.#leaving] = [this.#leaving, new Map()];
    this.#takeRows(rows, walk, busy, rests, translations);
    if (rests !== undefined) this.#takeRests(rests, walk);
    this.#isFirst = false;
    this.#hasWalked ||= walk !== undefined;
  }

  /** Updates the rows, and ends rows that are missing from the dump. */
  #takeRows(
    rows: MapDump,
    walk: number | undefined,
    busy: ReadonlyMap<number, FlowRow>,
    rests: MapDump | undefined,
    translations: RowTranslations | undefined,
  ): void {
    let taken = 0;
    this.#places.begin(rows);
    for (let index = 0; index < rows.count; index++) {
      const role = FLOW_ROLES[flowKey.role(rows.view, rows.keyAt(index))];
      if (role === undefined || !this.#has(role)) {
        this.#places.set(index, undefined);
        continue;
      }
      const found = this.#rowAt(rows, index) ?? this.#enter(rows, index, walk, busy);
      if (this.#left.size > 0) this.#giveBack(found, rows, index, walk, rests);
      translate(found, rows.view, rows.valueAt(index), translations);
      const row = this.#takeValues(found, rows.view, rows.valueAt(index), walk, true);
      if (row.taken !== this.#takes) taken++;
      row.taken = this.#takes;
      this.#places.set(index, row);
    }
    this.#places.end(rows);
    if (taken === this.#rows.size) return;
    for (const [text, row] of this.#rows) if (row.taken !== this.#takes) this.#end(text);
  }

  /** Returns the row at an index of a dump; undefined if the table does not contain this row. */
  rowOf(rows: MapDump, index: number): FlowRow | undefined {
    return this.#places.isOf(rows) ? this.#places.at(index) : this.#rows.get(keyText(rows.view, rows.keyAt(index)));
  }

  /** Returns whether the table contains a row whose namespace meets the condition. */
  hasAny(isSuch: (id: NetnsId) => boolean): boolean {
    for (const { place } of this.#rows.values()) if (isSuch(place.netns)) return true;
    return false;
  }

  /** Returns whether the row may be evicted as far as this table is concerned. */
  isIdle(row: FlowRow): boolean {
    return row.open === 0 && row.idle >= IDLE_TAKES;
  }

  /**
   * Returns whether the row is no longer needed: its entity is no longer shown, or its cgroup has been idle for a long
   * time.
   */
  isOver(row: FlowRow): boolean {
    return row.isAbandoned || (row.place.cgroup !== 0 && this.#nowMs() - row.activeMs >= CGROUP_IDLE_MS);
  }

  /**
   * Ends a row at its current totals because its subject has changed. The row in the kernel continues, and its further
   * increases are counted in a new row of the table.
   * @returns the new row
   */
  split(row: FlowRow): FlowRow {
    const next = this.#newRow(row.key, row.place);
    next.identity = row.identity;
    next.follow(row);
    next.open = row.open;
    next.idle = row.idle;
    next.activeMs = row.activeMs;
    const left = this.#leaving.get(row);
    if (left !== undefined) this.#leaving.set(next, left);
    if (typeof row.key === 'number') this.#rests.set(row.key, next);
    else {
      this.#rows.set(row.key, next);
      this.#places.replace(row, next);
    }
    this.#finish(row);
    return next;
  }

  /** Reads the final values of a row that is being deleted from the map. */
  deleted(text: string, view: DataView, at: number): void {
    const row = this.#rows.get(text);
    if (row === undefined) return;
    this.#takeValues(row, view, at, undefined, true);
    this.#end(text);
  }

  /**
   * Drops the rest rows of a slot whose owner no longer exists. The rows in the maps have already been reset to zero.
   */
  freed(slot: number): void {
    for (let role = 0; role < ROLES; role++) this.#rests.delete(slot * ROLES + role);
  }

  /**
   * Ends a row if the identity of its peer has changed, so that the increase in this update is counted in a new row.
   * The counts of the ended row keep its identity. A row without an increase and without open sockets is left
   * unchanged, because there are no counts to attribute to the new identity.
   * @returns the row in which the increase is counted
   */
  #handOver(row: FlowRow, values: FlowValues): FlowRow {
    if (this.#identities?.isStale(row) !== true) return row;
    const isGrown = row.wouldGrow(values);
    if (!isGrown && row.open === 0) return row;
    const identity = this.#identities.of(row, isGrown);
    if (identity === row.identity) return row;
    const text = row.key as string;
    const next = this.#newRow(text, row.place);
    next.subject = row.subject;
    next.identity = identity;
    next.follow(row);
    this.#end(text);
    this.#rows.set(text, next);
    return next;
  }

  #end(text: string): void {
    const row = this.#rows.get(text);
    if (row === undefined) return;
    this.#rows.delete(text);
    this.#finish(row);
  }

  #finish(row: FlowRow): void {
    row.isLast = true;
    row.open = row.idle = 0;
    this.#ended.add(row);
  }

  #rowAt({ view, keyAt }: MapDump, index: number): FlowRow | undefined {
    return this.#places.next(index) ?? this.#places.moved(this.#rows.get(keyText(view, keyAt(index))));
  }

  #enter(rows: MapDump, index: number, walk: number | undefined, busy: ReadonlyMap<number, FlowRow>): FlowRow {
    const { view } = rows;
    const key = rows.keyAt(index);
    const text = keyText(view, key);
    const role = flowKey.role(view, key);
    const netns = asNetnsId(flowKey.netns(view, key));
    const row = this.#newRow(text, {
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
    if (rest !== undefined) this.#leaving.set(row, rest);
    return row;
  }

  /** Keeps the counts of sockets in the rest row if they were already counted there. */
  #giveBack(row: FlowRow, rows: MapDump, index: number, walk: number | undefined, rests: MapDump | undefined): void {
    const rest = this.#left.get(row);
    if (rest === undefined || rests === undefined || this.#rests.get(rest.key as number) !== rest) return;
    const at = rests.valueAt(rest.key as number);
    readValues(this.#restValues, rests.view, at, isWalked(rests.view, at, walk));
    row.cede(this.#read(rows.view, rows.valueAt(index), walk), rest, this.#restValues);
  }

  #newRow(key: string | number, place: FlowPlace): FlowRow {
    return new FlowRow(++this.#serial, key, place);
  }

  /**
   * Updates a row from the values in the kernel.
   * @param hasPeer false for a rest row
   * @returns the row in which the increase was counted
   */
  #takeValues(found: FlowRow, view: DataView, at: number, walk: number | undefined, hasPeer: boolean): FlowRow {
    const values = this.#read(view, at, walk);
    // Counts of sockets that were open before the first walk are not an increase.
    if (walk !== undefined && !this.#hasWalked) found.rebase(values);
    const row = hasPeer ? this.#handOver(found, values) : found;
    const isGrown = row.take(values);
    row.open = isWalked(view, at, walk) ? flowRow.live(view, at) : 0;
    const isActive = isGrown || row.open > 0;
    row.idle = isActive ? 0 : row.idle + 1;
    if (isActive) row.activeMs = this.#takenMs;
    return row;
  }

  #read(view: DataView, at: number, walk: number | undefined): FlowValues {
    readValues(this.#values, view, at, isWalked(view, at, walk));
    return this.#values;
  }

  /**
   * Returns the rest rows whose sockets may now be counted in another row: they had open sockets, or their values would
   * decrease.
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
      if (rest !== undefined) this.#takeValues(rest, view, at, walk, false);
    }
  }

  #enterRest(place: number, role: FlowRole, view: DataView, at: number, walk: number | undefined): FlowRow | undefined {
    if (!isUsed(view, at)) return undefined;
    const netns = this.#owners.homeOf(Math.floor(place / ROLES));
    if (netns === undefined) return undefined;
    const rest = this.#newRow(place, { netns, cgroup: 0, role, peer: '*', port: undefined });
    this.#rests.set(place, rest);
    if (this.#isFirst) rest.base.set(this.#read(view, at, walk));
    return rest;
  }
}

/** Sets the knowledge about the real end of a row. */
function translate(row: FlowRow, view: DataView, at: number, translations: RowTranslations | undefined): void {
  row.isWatched = flowRow.watched(view, at) !== 0;
  row.translation = row.isWatched ? translations?.of(row.key as string, row.place.peer, view, at) : undefined;
}
