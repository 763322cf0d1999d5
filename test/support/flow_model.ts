import type { MapDump } from 'bpf-napi';
import { expect } from 'vitest';
import { flowEnd, flowField, flowKey, flowRole, flowRow } from '#bpf/generated/common.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { PeerTable } from '#kernel/peer_table.ts';
import { PeerTeller } from '#kernel/peer_teller.ts';
import { keyText } from '#probe/flow_dump.ts';
import type { FlowField, FlowRow } from '#probe/flow_row.ts';
import { FlowTable } from '#probe/flow_table.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';

const ROLES = Object.keys(flowRole).length;
export const COUNTED = ['connections', 'sent_bytes', 'received_bytes'] as const satisfies readonly FlowField[];
/** Maximum number of rows for each of the two owners. */
const ROOM = 1;
export const PEERS = 3;
export const OWNERS = [2, 3];

export interface Socket {
  readonly netns: number;
  readonly peer: number;
  sent: number;
  received: number;
}

/** Models a struct flow_row. */
interface Row {
  closed: Record<FlowField, number>;
  now: Record<FlowField, number>;
  ended: number;
  walk: number;
  live: number;
  evicted: boolean;
}

const FIELDS = Object.keys(flowField) as FlowField[];

function noCounts(): Record<FlowField, number> {
  return Object.fromEntries(FIELDS.map((field) => [field, 0])) as Record<FlowField, number>;
}

function newRow(): Row {
  return { closed: noCounts(), now: noCounts(), ended: 0, walk: 0, live: 0, evicted: false };
}

/** Models the kernel side: sockets, rows with a limit for each owner, and the sums for sockets without a row. */
class Kernel {
  readonly sockets = new Set<Socket>();
  readonly rows = new Map<string, { readonly netns: number; readonly peer: number; readonly row: Row }>();
  readonly rests = new Map<number, Row>();
  #walk = 0;
  #left: Socket[] = [];

  rowOf({ netns, peer }: Socket): Row {
    const key = `${netns} ${peer}`;
    const known = this.rows.get(key)?.row;
    if (known !== undefined && !known.evicted) return known;
    const held = [...this.rows.values()].filter((row) => row.netns === netns).length;
    if (known === undefined && held < ROOM) {
      const row = newRow();
      this.rows.set(key, { netns, peer, row });
      return row;
    }
    const rest = this.rests.get(netns) ?? newRow();
    this.rests.set(netns, rest);
    return rest;
  }

  close(socket: Socket): void {
    if (!this.sockets.delete(socket)) return;
    const row = this.rowOf(socket);
    row.ended++;
    row.closed.connections++;
    row.closed.sent_bytes += socket.sent;
    row.closed.received_bytes += socket.received;
  }

  begin(): void {
    this.#walk++;
    this.#left = [...this.sockets];
  }

  /** Reads some of the sockets. @returns whether all were read */
  step(count: number): boolean {
    for (const socket of this.#left.splice(0, count)) {
      if (!this.sockets.has(socket)) continue;
      const row = this.rowOf(socket);
      if (row.walk !== this.#walk) {
        row.now = { ...row.closed };
        row.live = 0;
        row.walk = this.#walk;
      }
      row.now.connections++;
      row.now.sent_bytes += socket.sent;
      row.now.received_bytes += socket.received;
      row.live++;
    }
    return this.#left.length === 0;
  }

  get walk(): number {
    return this.#walk;
  }
}

function writeU64(view: DataView, at: number, value: number): void {
  view.setBigUint64(at, BigInt(value), true);
}

function writeRow(view: DataView, at: number, row: Row): void {
  for (const field of FIELDS) {
    writeU64(view, at + flowRow.offsets.closed + 8 * flowField[field], row.closed[field]);
    writeU64(view, at + flowRow.offsets.now + 8 * flowField[field], row.now[field]);
  }
  writeU64(view, at + flowRow.offsets.ends + 8 * flowEnd.closed, row.ended);
  view.setUint32(at + flowRow.offsets.walk, row.walk, true);
  view.setUint32(at + flowRow.offsets.live, row.live, true);
  view.setUint32(at + flowRow.offsets.evicted, Number(row.evicted), true);
}

function dumpOf(
  count: number,
  keyBytes: number,
  write: (view: DataView, index: number, key: number, value: number) => void,
): MapDump {
  const valuesAt = (count * keyBytes + 7) & ~7;
  const view = new DataView(new ArrayBuffer(valuesAt + count * flowRow.SIZE));
  const dump = {
    count,
    view,
    keyAt: (index: number) => index * keyBytes,
    valueAt: (index: number) => valuesAt + index * flowRow.SIZE,
  };
  for (let index = 0; index < count; index++) write(view, index, dump.keyAt(index), dump.valueAt(index));
  return dump;
}

/** Returns the rows in random order, because a dump of a hash map returns a new row at any position. */
function inOrder(kernel: Kernel) {
  return [...kernel.rows.values()].sort((a, b) => a.peer - b.peer || a.netns - b.netns);
}

export function rowsOf(kernel: Kernel): MapDump {
  const rows = inOrder(kernel);
  return dumpOf(rows.length, flowKey.SIZE, (view, index, key, value) => {
    const { netns, peer, row } = rows[index] as (typeof rows)[number];
    writeU64(view, key + flowKey.offsets.netns, netns);
    view.setUint8(key + flowKey.offsets.peer + 10, 0xff);
    view.setUint8(key + flowKey.offsets.peer + 11, 0xff);
    view.setUint8(key + flowKey.offsets.peer + 12, 10);
    view.setUint8(key + flowKey.offsets.peer + 15, peer);
    view.setUint16(key + flowKey.offsets.port, 80, true);
    view.setUint8(key + flowKey.offsets.role, flowRole.client);
    writeRow(view, value, row);
  });
}

function restsOf(kernel: Kernel): MapDump | undefined {
  if (kernel.rests.size === 0) return undefined;
  return dumpOf((Math.max(...OWNERS) + 1) * ROLES, 4, (view, place, key, value) => {
    view.setUint32(key, place, true);
    const rest = place % ROLES === flowRole.client ? kernel.rests.get(Math.floor(place / ROLES)) : undefined;
    writeRow(view, value, rest ?? newRow());
  });
}

/** Adds up the shown values by owner, as the collector does. The last values of a removed row remain in the sum. */
class Shown {
  readonly #last = new Map<number, readonly number[]>();
  readonly sums = new Map<NetnsId, number[]>();
  /** Sums by the name of the peer. */
  readonly named = new Map<string, number[]>();

  take(rows: Iterable<FlowRow>): void {
    for (const row of rows) {
      const values = COUNTED.map((field) => row.count(field));
      const before = this.#last.get(row.serial) ?? values.map(() => 0);
      for (const [index, value] of values.entries()) expect(value).toBeGreaterThanOrEqual(before[index] as number);
      this.#last.set(row.serial, values);
      const grown = values.map((value, index) => value - (before[index] as number));
      addTo(this.sums, row.place.netns, grown);
      addTo(this.named, row.identity?.name ?? '*', grown);
    }
  }
}

function addTo<Key>(sums: Map<Key, number[]>, key: Key, values: readonly number[]): void {
  const before = sums.get(key) ?? values.map(() => 0);
  sums.set(
    key,
    before.map((sum, index) => sum + (values[index] as number)),
  );
}

/** Assigns addresses to owners, and reports changes to the peer table as the main thread does. */
class Cluster {
  readonly #owners = new Map<string, string>();
  readonly #firstOwners = new Map<string, string>();
  #nowMs = 0;
  readonly #teller = new PeerTeller({
    identify: (ip) => {
      const name = this.ownerOf(ip);
      return name === '' ? UNKNOWN_PEER : { kind: 'workload', namespace: 'shop', name };
    },
    zone: () => undefined,
    tell: (told) => this.table.tell(told),
    nowMs: () => this.#nowMs,
  });
  readonly table: PeerTable = new PeerTable({
    ask: (ask) => this.#teller.asked(ask),
    isOwn: () => false,
    waitMs: 0,
    nowMs: () => this.#nowMs,
  });

  ownerOf(ip: string): string {
    return this.#owners.get(ip) ?? '';
  }

  /**
   * Returns the name to which the traffic of an address is attributed. If the address has had no owner so far, this is
   * its first owner, which the cluster reports late.
   */
  nameOf(ip: string): string {
    return this.#firstOwners.has(ip) ? this.ownerOf(ip) : `first of ${ip}`;
  }

  /** Returns the addresses whose first owner has this name. */
  firstOf(name: string): string[] {
    return [...this.#firstOwners].flatMap(([ip, owner]) => (owner === name ? [ip] : []));
  }

  give(ip: string, owner: string): void {
    if (owner !== '' && !this.#firstOwners.has(ip)) this.#firstOwners.set(ip, owner);
    this.#owners.set(ip, owner);
    this.#teller.changed(ip);
  }

  /** Advances the clock, and sends pending changes. */
  pass(): void {
    this.#nowMs += 1_000;
    this.#teller.asked({ pods: false, add: [], withinMs: 0, forget: [] });
  }

  [Symbol.dispose](): void {
    this.#teller[Symbol.dispose]();
  }
}

/** Names of owners. An address without an owner has the name ''. */
export const NAMES = ['', 'cart', 'web', 'db'];

export function ipOf(peer: number): string {
  return `10.0.0.${peer}`;
}

/** The model, the table, and the sums of both. */
export class FlowModel implements Disposable {
  readonly kernel = new Kernel();
  readonly cluster = new Cluster();
  readonly peers = this.cluster.table.follow({ pods: false, subjectOf: ({ place }) => place.netns });
  readonly table = new FlowTable(
    { slotOf: (id) => Number(id), homeOf: (slot) => asNetnsId(slot) },
    (role) => role !== 'listener',
    this.peers,
  );
  readonly shown = new Shown();
  /** Exact totals by the name that owned the peer's address at the time of the traffic. */
  readonly named = new Map<string, number[]>();
  /** Exact totals by owner. */
  readonly truth = new Map<number, number[]>(OWNERS.map((owner) => [owner, COUNTED.map(() => 0)]));
  readonly #evicting = new Set<string>();

  nth(which: number): Socket | undefined {
    return [...this.kernel.sockets][which % Math.max(1, this.kernel.sockets.size)];
  }

  open(netns: number, peer: number): void {
    this.kernel.sockets.add({ netns, peer, sent: 0, received: 0 });
    const truth = this.truth.get(netns) as number[];
    truth[0] = (truth[0] as number) + 1;
    addTo(this.named, this.cluster.nameOf(ipOf(peer)), [1, 0, 0]);
  }

  send(socket: Socket | undefined, sent: number, received: number): void {
    if (socket === undefined) return;
    socket.sent += sent;
    socket.received += received;
    const truth = this.truth.get(socket.netns) as number[];
    truth[1] = (truth[1] as number) + sent;
    truth[2] = (truth[2] as number) + received;
    addTo(this.named, this.cluster.nameOf(ipOf(socket.peer)), [0, sent, received]);
  }

  walk(step: number, closes: readonly number[]): void {
    this.cluster.pass();
    this.kernel.begin();
    const left = [...closes];
    while (!this.kernel.step(step)) {
      const which = left.pop();
      const socket = which === undefined ? undefined : this.nth(which);
      if (socket !== undefined) this.kernel.close(socket);
    }
    const rows = rowsOf(this.kernel);
    this.table.take({ rows, rests: restsOf(this.kernel), walk: this.kernel.walk });
    for (const text of this.#evicting) {
      const index = Array.from({ length: rows.count }, (_, nth) => nth).find(
        (nth) => keyText(rows.view, rows.keyAt(nth)) === text,
      );
      if (index !== undefined) this.table.deleted(text, rows.view, rows.valueAt(index));
      for (const [key, { row }] of this.kernel.rows) if (row.evicted) this.kernel.rows.delete(key);
    }
    this.#evicting.clear();
    const all = [...this.table.rows()];
    // The modelled main thread answers immediately, so the promise need not be awaited.
    void this.peers.find(all);
    this.shown.take(all);
    for (const row of all) if (row.isLast) this.table.counted(row);
    this.expectNeverAbove();
    this.expectNoWrongName();
  }

  evict(): void {
    const rows = rowsOf(this.kernel);
    inOrder(this.kernel).forEach(({ row }, index) => {
      const shown = this.table.rowOf(rows, index);
      if (row.evicted || shown === undefined || !this.table.isIdle(shown)) return;
      row.evicted = true;
      this.#evicting.add(keyText(rows.view, rows.keyAt(index)));
    });
  }

  split(which: number): void {
    const rows = [...this.table.rows()].filter(({ isLast }) => !isLast);
    const row = rows[which % Math.max(1, rows.length)];
    if (row !== undefined) this.table.split(row);
  }

  expectNeverAbove(): void {
    for (const [owner, truth] of this.truth) {
      const sums = this.shown.sums.get(asNetnsId(owner)) ?? [];
      for (const [index, sum] of sums.entries()) expect(sum).toBeLessThanOrEqual(truth[index] as number);
    }
  }

  /** Checks that no name is shown with more traffic than its addresses had while they belonged to it. */
  expectNoWrongName(): void {
    for (const [name, sums] of this.shown.named) {
      if (['', '*'].includes(name)) continue;
      const truths = [name, ...this.cluster.firstOf(name).map((ip) => `first of ${ip}`)];
      for (const [index, sum] of sums.entries()) {
        const truth = truths.reduce((total, key) => total + (this.named.get(key)?.[index] ?? 0), 0);
        expect(sum).toBeLessThanOrEqual(truth);
      }
    }
  }

  [Symbol.dispose](): void {
    this.cluster[Symbol.dispose]();
  }

  expectExact(): void {
    for (const [owner, truth] of this.truth) {
      expect(this.shown.sums.get(asNetnsId(owner)) ?? COUNTED.map(() => 0)).toEqual(truth);
    }
  }
}
