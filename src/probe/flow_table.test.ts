import type { MapDump } from 'bpf-napi';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { flowEnd, flowField, flowKey, flowRole, flowRow } from '#bpf/generated/common.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { FlowField, FlowRow } from './flow_row.ts';
import { FlowTable, keyText } from './flow_table.ts';

const ROLES = Object.keys(flowRole).length;
const COUNTED = ['connections', 'sent_bytes', 'received_bytes'] as const satisfies readonly FlowField[];
/** Maximum number of rows of each of the two owners. */
const ROOM = 1;
const PEERS = 3;
const OWNERS = [2, 3];

interface Socket {
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

/**
 * Models the part of the kernel that counts: sockets, rows with a limit for each owner, and the sums for sockets
 * without a row.
 */
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

function rowsOf(kernel: Kernel): MapDump {
  const rows = [...kernel.rows.values()];
  return dumpOf(rows.length, flowKey.SIZE, (view, index, key, value) => {
    const { netns, peer, row } = rows[index] as (typeof rows)[number];
    writeU64(view, key + flowKey.offsets.netns, netns);
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

/** Adds up the shown values by owner as the collector does. A row that is removed keeps its last values. */
class Shown {
  readonly #last = new Map<number, readonly number[]>();
  readonly sums = new Map<NetnsId, number[]>();

  take(rows: Iterable<FlowRow>): void {
    for (const row of rows) {
      const values = COUNTED.map((field) => row.count(field));
      const before = this.#last.get(row.serial) ?? values.map(() => 0);
      for (const [index, value] of values.entries()) expect(value).toBeGreaterThanOrEqual(before[index] as number);
      this.#last.set(row.serial, values);
      const sums = this.sums.get(row.place.netns) ?? values.map(() => 0);
      this.sums.set(
        row.place.netns,
        sums.map((sum, index) => sum + (values[index] as number) - (before[index] as number)),
      );
    }
  }
}

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      netns: fc.constantFrom(...OWNERS),
      peer: fc.nat(PEERS - 1),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      which: fc.nat(),
      sent: fc.nat(1_000),
      received: fc.nat(1_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('close' as const), which: fc.nat() }) },
  // Sockets are closed while the walk is in progress.
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('walk' as const),
      step: fc.integer({ min: 1, max: 4 }),
      closes: fc.array(fc.nat(), { maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
);

class Run {
  readonly kernel = new Kernel();
  readonly table = new FlowTable(
    { slotOf: (id) => Number(id), homeOf: (slot) => asNetnsId(slot) },
    (role) => role !== 'listener',
  );
  readonly shown = new Shown();
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
  }

  send(socket: Socket | undefined, sent: number, received: number): void {
    if (socket === undefined) return;
    socket.sent += sent;
    socket.received += received;
    const truth = this.truth.get(socket.netns) as number[];
    truth[1] = (truth[1] as number) + sent;
    truth[2] = (truth[2] as number) + received;
  }

  walk(step: number, closes: readonly number[]): void {
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
    this.shown.take(all);
    for (const row of all) if (row.isLast) this.table.counted(row);
    this.expectNeverAbove();
  }

  evict(): void {
    const rows = rowsOf(this.kernel);
    [...this.kernel.rows.values()].forEach(({ row }, index) => {
      const text = keyText(rows.view, rows.keyAt(index));
      if (row.evicted || !this.table.isIdle(text) || !this.table.has(text)) return;
      row.evicted = true;
      this.#evicting.add(text);
    });
  }

  expectNeverAbove(): void {
    for (const [owner, truth] of this.truth) {
      const sums = this.shown.sums.get(asNetnsId(owner)) ?? [];
      for (const [index, sum] of sums.entries()) expect(sum).toBeLessThanOrEqual(truth[index] as number);
    }
  }

  expectExact(): void {
    for (const [owner, truth] of this.truth) {
      expect(this.shown.sums.get(asNetnsId(owner)) ?? COUNTED.map(() => 0)).toEqual(truth);
    }
  }
}

it('shows never more than was counted, and all of it once nothing moves', () => {
  let evictions = 0;
  let rests = 0;
  fc.assert(
    fc.property(fc.array(action, { minLength: 10, maxLength: 120 }), (actions) => {
      const run = new Run();
      run.walk(4, []);
      for (const one of actions) {
        if (one.do === 'open') run.open(one.netns, one.peer);
        else if (one.do === 'send') run.send(run.nth(one.which), one.sent, one.received);
        else if (one.do === 'walk') run.walk(one.step, one.closes);
        else if (one.do === 'evict') run.evict();
        else {
          const socket = run.nth(one.which);
          if (socket !== undefined) run.kernel.close(socket);
        }
      }
      evictions += [...run.kernel.rows.values()].filter(({ row }) => row.evicted).length;
      rests += run.kernel.rests.size;
      run.walk(4, []);
      run.expectExact();
    }),
    { numRuns: 400 },
  );
  expect(evictions).toBeGreaterThan(0);
  expect(rests).toBeGreaterThan(0);
});

it('counts nothing from before its first take', () => {
  const run = new Run();
  run.open(2, 1);
  run.send(run.nth(0), 500, 600);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 0, 0]);
  run.send(run.nth(0), 10, 20);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 10, 20]);
});

it('goes on without a jump once open sockets are read', () => {
  const run = new Run();
  run.open(2, 1);
  run.send(run.nth(0), 500, 600);
  run.kernel.close(run.nth(0) as Socket);
  run.table.take({ rows: rowsOf(run.kernel), rests: undefined, walk: undefined });
  run.open(2, 1);
  run.send(run.nth(0), 7, 7);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 0, 0]);
  run.send(run.nth(0), 1, 2);
  run.walk(4, []);
  expect(run.shown.sums.get(asNetnsId(2))).toEqual([0, 1, 2]);
});
