import type { BpfMap, BpfObject } from 'bpf-napi';
import { beforeEach, expect, it } from 'vitest';
import { countValue, MAX_ENTRIES, misses, ownerSlot } from '#bpf/generated/common.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { ANY_REASON, COUNTED, Counts } from './counts.ts';
import { OwnerSlots, SLOTS } from './owners.ts';

const RESTS = MAX_ENTRIES.count_rest / SLOTS;
const [CART, MADE, NOBODYS] = [11, 12, 13].map(asNetnsId) as [NetnsId, NetnsId, NetnsId];

/** A fake BPF map. A key consists of two u64 values or one u32 value, and a value is a u64. */
class FakeMap {
  readonly entries = new Map<string, bigint[]>();
  readonly #key: (key: Uint8Array) => string = (key) => Buffer.from(key).toString('hex');
  readonly keyBytes: number;
  readonly valueBytes: number;

  constructor(keyBytes: number, words: number) {
    this.keyBytes = keyBytes;
    this.valueBytes = 8 * words;
  }

  put(key: Uint8Array, ...value: bigint[]): void {
    this.entries.set(this.#key(key), value);
  }

  update(key: Uint8Array, value: Uint8Array): void {
    this.put(key, ...new BigUint64Array(value.slice().buffer));
  }

  delete(key: Uint8Array): void {
    this.entries.delete(this.#key(key));
  }

  lookup(key: Uint8Array, target: Uint8Array): void {
    target.set(new Uint8Array(BigUint64Array.from(this.entries.get(this.#key(key)) ?? []).buffer));
  }

  dump() {
    const keys = Buffer.concat([...this.entries.keys()].map((key) => Buffer.from(key, 'hex')));
    const valuesAt = Math.ceil(keys.length / 8) * 8;
    const bytes = new Uint8Array(valuesAt + this.entries.size * this.valueBytes);
    bytes.set(keys);
    bytes.set(new Uint8Array(BigUint64Array.from([...this.entries.values()].flat()).buffer), valuesAt);
    return {
      count: this.entries.size,
      view: new DataView(bytes.buffer),
      keyAt: (index: number) => index * this.keyBytes,
      valueAt: (index: number) => valuesAt + index * this.valueBytes,
    };
  }
}

const REASON = 5;
let rows: FakeMap;
let rest: FakeMap;
let missed: FakeMap;
let unowned: Set<NetnsId>;
let owned: Set<NetnsId>;
let departed: Set<NetnsId>;
let owners: OwnerSlots;
let counts: Counts;

const keyOf = (id: NetnsId) => new Uint8Array(BigUint64Array.of(BigInt(id), BigInt(REASON)).buffer);
const placeOf = (slot: number) => new Uint8Array(Uint32Array.of(slot * RESTS).buffer);
const count = (id: NetnsId, total: number) => rows.put(keyOf(id), BigInt(total), BigInt(10 * total));

function countRest(slot: number, total: number): void {
  rest.put(placeOf(slot), BigInt(total), 0n);
  missed.put(new Uint8Array(4), 0n, 0n, 0n, 1n);
}

const shown = () =>
  Object.fromEntries(counts.rows().map(({ netns, reason, count: total }) => [`${netns} ${reason}`, total]));

beforeEach(() => {
  rows = new FakeMap(16, 2);
  rest = new FakeMap(4, countValue.SIZE / 8);
  missed = new FakeMap(4, misses.SIZE / 8);
  missed.put(new Uint8Array(4), 0n, 0n, 0n, 0n);
  unowned = new Set();
  owned = new Set([CART, MADE]);
  departed = new Set();
  owners = new OwnerSlots({
    isUnowned: (id) => unowned.has(id),
    isNested: () => false,
    wasOwned: (id) => owned.has(id),
    hasDeparted: (id) => departed.has(id),
  });
  owners.set([{ id: CART, owner: 'cart', name: 'cart' }]);
  const maps: Record<string, FakeMap> = { counts: rows, count_rest: rest, misses: missed };
  const object = { map: (name: string) => maps[name] as unknown as BpfMap } as BpfObject;
  counts = new Counts(object, (side) => ({ reason: ANY_REASON, side }), owners, { value: COUNTED.initial() });
});

it('counts of unowned namespaces are one row, and stay there when an owner is found', () => {
  count(CART, 1);
  count(NOBODYS, 3);
  unowned.add(NOBODYS);
  expect(shown()).toEqual({ [`${CART} 5`]: 1, [`${UNLISTED} 5`]: 3 });
  unowned.delete(NOBODYS);
  count(NOBODYS, 7);
  expect(shown()).toEqual({ [`${CART} 5`]: 1, [`${NOBODYS} 5`]: 4, [`${UNLISTED} 5`]: 3 });
});

it('counts of a namespace that never had an owner are kept when it is dead before a look', () => {
  count(NOBODYS, 3);
  count(CART, 2);
  counts.sweep((id) => id === NOBODYS);
  expect(shown()).toEqual({ [`${CART} 5`]: 2, [`${UNLISTED} 5`]: 3 });
  expect(rows.entries.size).toBe(1);
});

it('counts without a row are shown with their owner, those of unowned namespaces with the other unowned ones', () => {
  countRest(ownerSlot.first, 4);
  countRest(ownerSlot.nested, 5);
  expect(shown()).toEqual({ [`${CART} ${ANY_REASON}`]: 4, [`${UNLISTED} ${ANY_REASON}`]: 5 });
  counts.freed(ownerSlot.first);
  expect(shown()).toEqual({ [`${UNLISTED} ${ANY_REASON}`]: 5 });
});

it('counts of namespaces that a Pod made are the Pod’s, also when the namespaces are gone', () => {
  owners.set([CART, MADE].map((id) => ({ id, owner: 'cart', name: 'cart' })));
  count(CART, 2);
  count(MADE, 3);
  expect(shown()).toEqual({ [`${CART} 5`]: 5 });
  owners.set([{ id: CART, owner: 'cart', name: 'cart' }]);
  counts.sweep((id) => id === MADE);
  expect(shown()).toEqual({ [`${CART} 5`]: 5 });
});

it('continue where an earlier run ended', () => {
  unowned.add(NOBODYS);
  count(CART, 2);
  count(NOBODYS, 3);
  counts.rows();
  counts.remember();
  count(CART, 1);
  count(NOBODYS, 1);
  expect(shown()).toEqual({ [`${CART} 5`]: 3, [`${UNLISTED} 5`]: 4 });
});

/** Returns the sum of all counts: those in rows, those that wait for a row, and those whose rows were removed. */
function everything(): number {
  const inRows = counts.rows().filter(({ netns }) => netns === UNLISTED || owned.has(netns));
  const { departed: left, waiting } = counts.notShown();
  return inRows.reduce((sum, { count: total }) => sum + Number(total), 0) + Number(left) + Number(waiting);
}

it('counts that leave the page are in one sum, those of a living namespace and those of a dead one', () => {
  owners.set([CART, MADE].map((id, index) => ({ id, owner: `${index}`, name: '' })));
  count(CART, 5);
  count(MADE, 2);
  count(NOBODYS, 3);
  expect(counts.notShown().departed).toBe(0);
  expect(everything()).toBe(10);
  expect(counts.notShown()).toEqual({ departed: 0, waiting: 3 });
  // The namespace of the departed Pod still exists, and its packets are still counted.
  departed.add(CART);
  expect(shown()).toEqual({ [`${MADE} 5`]: 2, [`${NOBODYS} 5`]: 3 });
  count(CART, 9);
  expect(everything()).toBe(14);
  expect(counts.notShown().departed).toBe(9);
  owners.set([]);
  count(CART, 10);
  counts.sweep((id) => id !== NOBODYS);
  expect(rows.entries.size).toBe(1);
  expect(counts.notShown().departed).toBe(12);
  expect(everything()).toBe(15);
});

it('counts without a row leave the page with the slot of their owner, once', () => {
  countRest(ownerSlot.first, 4);
  expect(everything()).toBe(4);
  departed.add(CART);
  expect(everything()).toBe(4);
  counts.sweep((id) => id === CART);
  expect(counts.notShown().departed).toBe(4);
  countRest(ownerSlot.first, 6);
  counts.freed(ownerSlot.first);
  expect(counts.notShown().departed).toBe(6);
  expect(shown()).toEqual({});
  counts.sweep((id) => id === CART);
  expect(everything()).toBe(6);
});

it('counts that have left the page are kept in a later run', () => {
  count(CART, 5);
  departed.add(CART);
  counts.rows();
  counts.remember();
  count(CART, 1);
  expect(everything()).toBe(6);
  counts.sweep((id) => id === CART);
  expect([everything(), counts.notShown().departed]).toEqual([6, 6]);
});
