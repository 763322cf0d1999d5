import type { BpfObject } from 'bpf-napi';
import { beforeEach, describe, expect, it } from 'vitest';
import { misses, ownerSlot } from '#bpf/generated/common.ts';
import { udpKey, udpRole, udpRow } from '#bpf/generated/udpflow.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { OwnerSlots } from '#probe/owners.ts';
import { UDP_ROWS, UdpRows } from './udp_rows.ts';

const [CART, NOBODYS] = [11, 12].map(asNetnsId) as [NetnsId, NetnsId];
const IDLE_MS = 1_000;

/** A fake BPF map, indexed by the bytes of its keys. */
class FakeMap {
  readonly entries = new Map<string, Uint8Array>();
  readonly keyBytes: number;
  readonly valueBytes: number;

  constructor(keyBytes: number, valueBytes: number) {
    this.keyBytes = keyBytes;
    this.valueBytes = valueBytes;
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.entries.set(Buffer.from(key).toString('hex'), value);
  }

  delete(key: Uint8Array): void {
    this.entries.delete(Buffer.from(key).toString('hex'));
  }

  lookup(key: Uint8Array, target: Uint8Array): void {
    target.set(this.entries.get(Buffer.from(key).toString('hex')) ?? new Uint8Array(this.valueBytes));
  }

  dump() {
    const keys = Buffer.concat([...this.entries.keys()].map((key) => Buffer.from(key, 'hex')));
    const bytes = Buffer.concat([keys, ...this.entries.values()]);
    return {
      count: this.entries.size,
      view: new DataView(Uint8Array.from(bytes).buffer),
      keyAt: (index: number) => index * this.keyBytes,
      valueAt: (index: number) => keys.length + index * this.valueBytes,
    };
  }
}

let kernel: FakeMap;
let rest: FakeMap;
let missed: FakeMap;
let left: Uint8Array[];
let nowMs: number;
let owned: Set<NetnsId>;
let unowned: Set<NetnsId>;
let departed: Set<NetnsId>;
let owners: OwnerSlots;
let rows: UdpRows;
let hostPods: Map<number, NetnsId>;
const earlier = { value: UDP_ROWS.initial() };

function keyOf(netns: NetnsId, port: number, cgroup = 0): Uint8Array {
  const key = new Uint8Array(udpKey.SIZE);
  const view = new DataView(key.buffer);
  view.setBigUint64(udpKey.offsets.netns, BigInt(netns), true);
  view.setBigUint64(udpKey.offsets.cgroup, BigInt(cgroup), true);
  key.set([0xff, 0xff, 10, 0, 0, 7], udpKey.offsets.peer + 10);
  view.setUint16(udpKey.offsets.port, port, true);
  view.setUint8(udpKey.offsets.role, udpRole.server);
  return key;
}

function rowOf(datagrams: number): Uint8Array {
  const value = new BigUint64Array(udpRow.SIZE / 8);
  value[udpRow.offsets.sentDatagrams / 8] = BigInt(datagrams);
  value[udpRow.offsets.sentBytes / 8] = BigInt(100 * datagrams);
  return new Uint8Array(value.buffer);
}

const count = (netns: NetnsId, port: number, datagrams: number) => kernel.update(keyOf(netns, port), rowOf(datagrams));

function countRest(slot: number, datagrams: number): void {
  rest.update(new Uint8Array(Uint32Array.of(slot).buffer), rowOf(datagrams));
  const miss = new Uint8Array(misses.SIZE);
  new DataView(miss.buffer).setBigUint64(misses.offsets.addedUp, 1n, true);
  missed.update(new Uint8Array(4), miss);
}

function openRows(): UdpRows {
  const maps = new Map([
    ['udp_rows', kernel],
    ['udp_rest', rest],
    ['misses', missed],
  ]);
  const object = {
    map: (name: string) => maps.get(name),
    run: (_: string, args: BigUint64Array) => left.push(new Uint8Array(args.slice().buffer)),
  };
  return new UdpRows(object as unknown as BpfObject, owners, earlier, {
    hostPods: { find: async () => undefined, subjectOf: (cgroup) => hostPods.get(Number(cgroup)) },
    idleMs: IDLE_MS,
    nowMs: () => nowMs,
  });
}

beforeEach(() => {
  kernel = new FakeMap(udpKey.SIZE, udpRow.SIZE);
  rest = new FakeMap(4, udpRow.SIZE);
  missed = new FakeMap(4, misses.SIZE);
  left = [];
  nowMs = 0;
  owned = new Set([CART]);
  unowned = new Set();
  departed = new Set();
  hostPods = new Map();
  owners = new OwnerSlots({
    isUnowned: (id) => unowned.has(id),
    isNested: () => false,
    wasOwned: (id) => owned.has(id),
    hasDeparted: (id) => departed.has(id),
  });
  owners.set([{ id: CART, owner: 'cart', name: 'shop/cart' }]);
  earlier.value = UDP_ROWS.initial();
  rows = openRows();
});

/** Returns the counts by namespace, role, peer and port. Marks the last value of a removed row. */
function shown(): Record<string, unknown> {
  return Object.fromEntries(
    rows
      .rows()
      .map(({ subject, labels: { role, peer, port }, counts, isLast }) => [
        `${subject} ${role} ${peer} ${port}${isLast ? ' last' : ''}`,
        counts.sentDatagrams,
      ]),
  );
}

function collect(): Record<string, unknown> {
  const page = shown();
  for (const row of rows.rows()) if (row.isLast) rows.counted(row);
  return page;
}

const nobodyDead = () => false;

describe('rows', () => {
  it('are shown by edge, and what has no row as the rest of its owner', () => {
    count(CART, 53, 4);
    countRest(owners.slotOf(CART) ?? 0, 5);
    countRest(ownerSlot.unlisted, 6);
    expect(shown()).toEqual({ '11 server 10.0.0.7 53': 4, '11 * * *': 5, '0 * * *': 6 });
    expect(rows.rows()[0]?.counts).toEqual({
      sentBytes: 400,
      receivedBytes: 0,
      sentDatagrams: 4,
      receivedDatagrams: 0,
    });
  });

  it('wait for their owner, and are nobody’s where none is found; later counts are those of an owner that is', () => {
    count(NOBODYS, 53, 4);
    expect(shown()).toEqual({});
    expect(rows.notShown()).toEqual({ departed: 0, waiting: 4 });
    unowned.add(NOBODYS);
    expect(shown()).toEqual({ [`${UNLISTED} server 10.0.0.7 53`]: 4 });
    unowned.delete(NOBODYS);
    owned.add(NOBODYS);
    count(NOBODYS, 53, 7);
    expect(collect()).toEqual({ '12 server 10.0.0.7 53': 0, '0 server 10.0.0.7 53 last': 7 });
    count(NOBODYS, 53, 9);
    expect(collect()).toEqual({ '12 server 10.0.0.7 53': 2 });
  });

  it('are counted as departed once their owner has left the page, with those that ended before', () => {
    count(CART, 53, 4);
    count(CART, 54, 3);
    rows.sweep(nobodyDead);
    nowMs = IDLE_MS;
    count(CART, 53, 5);
    rows.sweep(nobodyDead);
    rows.sweep(nobodyDead);
    expect(collect()).toEqual({ '11 server 10.0.0.7 53': 5, '11 server 10.0.0.7 54 last': 3 });
    departed.add(CART);
    expect(shown()).toEqual({ '11 server 10.0.0.7 53 last': 5 });
    count(CART, 53, 6);
    rows.sweep((id) => id === CART);
    expect(shown()).toEqual({});
    expect(rows.notShown()).toEqual({ departed: 9, waiting: 0 });
    expect(kernel.entries.size).toBe(0);
  });
});

describe('rows in the namespace of the node', () => {
  const [NODE, POD] = [asNetnsId(1), asNetnsId(1n << 62n)];
  const CGROUP = 77;
  const countIn = (cgroup: number, datagrams: number) => kernel.update(keyOf(NODE, 53, cgroup), rowOf(datagrams));

  beforeEach(() => void owned.add(NODE));

  it('belong to the Pods of their cgroups, as soon as these were looked up', async () => {
    hostPods.set(CGROUP, POD);
    countIn(CGROUP, 4);
    countIn(CGROUP + 1, 5);
    expect(shown()).toEqual({});
    expect(rows.notShown().waiting).toBe(9);
    await rows.find();
    expect(shown()).toEqual({ [`${POD} server 10.0.0.7 53`]: 4, '1 server 10.0.0.7 53': 5 });
  });

  it('count as departed after their Pod, and the node’s are those of no Pod', async () => {
    hostPods.set(CGROUP, POD);
    countIn(CGROUP, 4);
    await rows.find();
    collect();
    departed.add(POD);
    countIn(CGROUP, 6);
    expect(shown()).toEqual({ [`${POD} server 10.0.0.7 53 last`]: 6 });
    rows.sweep(nobodyDead);
    expect(shown()).toEqual({});
    expect(rows.notShown().departed).toBe(6);
    hostPods.clear();
    expect(shown()).toEqual({ '1 server 10.0.0.7 53': 0 });
    countIn(CGROUP, 7);
    expect(shown()).toEqual({ '1 server 10.0.0.7 53': 1 });
  });

  it('are the node’s if the run ends before they were looked up', () => {
    countIn(CGROUP, 4);
    rows.remember();
    kernel.entries.clear();
    rows = openRows();
    expect(shown()).toEqual({ '1 server 10.0.0.7 53 last': 4 });
  });
});

describe('an idle row', () => {
  it('ends in two steps: what is counted after the first one is not lost', () => {
    count(CART, 53, 4);
    rows.sweep(nobodyDead);
    nowMs = IDLE_MS;
    expect(rows.sweep(nobodyDead)).toEqual(new Map([[CART, 1]]));
    expect(left).toEqual([keyOf(CART, 53)]);
    // A program that looked up the row before its removal still adds to it.
    count(CART, 53, 5);
    expect(kernel.entries.size).toBe(1);
    expect(rows.sweep(nobodyDead)).toEqual(new Map());
    expect(kernel.entries.size).toBe(0);
    expect(shown()).toEqual({ '11 server 10.0.0.7 53 last': 5 });
  });

  it('is given until it is counted; under the same key another one begins', () => {
    count(CART, 53, 4);
    rows.sweep(nobodyDead);
    nowMs = IDLE_MS;
    rows.sweep(nobodyDead);
    rows.sweep(nobodyDead);
    const [before] = rows.rows();
    expect(shown()).toEqual({ '11 server 10.0.0.7 53 last': 4 });
    count(CART, 53, 2);
    expect(collect()).toEqual({ '11 server 10.0.0.7 53': 2, '11 server 10.0.0.7 53 last': 4 });
    expect(collect()).toEqual({ '11 server 10.0.0.7 53': 2 });
    expect(rows.rows()[0]?.id).not.toBe(before?.id);
  });

  it('stays while it counts, and while its owner is unknown', () => {
    count(CART, 53, 1);
    count(NOBODYS, 53, 1);
    for (let sweep = 1; sweep < 5; sweep++) {
      rows.sweep(nobodyDead);
      nowMs += IDLE_MS / 2;
      count(CART, 53, 1 + sweep);
    }
    expect(left).toEqual([]);
  });
});

it('goes on in the next run with what no collection had counted', () => {
  count(CART, 53, 4);
  countRest(owners.slotOf(CART) ?? 0, 5);
  collect();
  rows.remember();
  kernel.entries.clear();
  rest.entries.clear();
  rows = openRows();
  count(CART, 53, 1);
  expect(collect()).toEqual({ '11 server 10.0.0.7 53': 1, '11 server 10.0.0.7 53 last': 4, '11 * * * last': 5 });
  expect(collect()).toEqual({ '11 server 10.0.0.7 53': 1 });
});

it('clears the rest of a slot whose owner is gone', () => {
  const slot = owners.slotOf(CART) ?? 0;
  countRest(slot, 5);
  collect();
  rows.freed(slot);
  expect(rows.notShown().departed).toBe(5);
  expect(shown()).toEqual({});
});
