import type { BpfMap, BpfObject } from 'bpf-napi';
import { beforeEach, expect, it } from 'vitest';
import { ownerSlot } from '#bpf/generated/common.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { OwnerSlots, SLOTS, sharesOf } from './owners.ts';
import { Room } from './room.ts';

const SHARES = { ofOwner: 2, ofUnlisted: 3 };
const [CART, MADE, DB, NOBODYS, NESTED] = [11, 12, 13, 14, 15].map(asNetnsId) as [
  NetnsId,
  NetnsId,
  NetnsId,
  NetnsId,
  NetnsId,
];

/** A fake BPF array whose values are of type u32. */
class SlotArray {
  readonly values = new Uint32Array(SLOTS);

  update(key: Uint8Array, value: Uint8Array): void {
    const read = (bytes: Uint8Array) => new DataView(bytes.buffer).getUint32(0, true);
    this.values[read(key)] = read(value);
  }

  dump() {
    const cells = Uint32Array.from({ length: 2 * SLOTS }, (_, at) =>
      at < SLOTS ? at : (this.values[at - SLOTS] ?? 0),
    );
    return {
      count: SLOTS,
      view: new DataView(cells.buffer),
      keyAt: (index: number) => 4 * index,
      valueAt: (index: number) => 4 * (SLOTS + index),
    };
  }
}

let taken: SlotArray;
let returned: SlotArray;
let owners: OwnerSlots;
let room: Room;

const held = (slot: number) => ((taken.values[slot] ?? 0) - (returned.values[slot] ?? 0)) | 0;
const slotOf = (id: NetnsId) => owners.slotOf(id) ?? Number.NaN;

beforeEach(() => {
  taken = new SlotArray();
  returned = new SlotArray();
  owners = new OwnerSlots({
    isUnowned: () => false,
    isNested: (id) => id === NESTED,
    wasOwned: () => true,
    hasDeparted: () => false,
  });
  owners.set([
    { id: CART, owner: 'cart', name: 'shop/cart' },
    { id: MADE, owner: 'cart', name: 'shop/cart' },
    { id: DB, owner: 'db', name: 'shop/db' },
  ]);
  const maps: Record<string, SlotArray> = { rows_taken: taken, rows_returned: returned };
  room = new Room({ map: (name: string) => maps[name] as unknown as BpfMap } as BpfObject, 'counts', SHARES, owners);
});

it('three quarters of a map are for owners, and each of them has space', () => {
  expect(sharesOf(65_536)).toEqual({ ofOwner: 48, ofUnlisted: 8_192 });
  expect(sharesOf(256)).toEqual({ ofOwner: 1, ofUnlisted: 32 });
});

it('gives back the rows of the dead, to the slot that took them', () => {
  taken.values[slotOf(CART)] = 2;
  room.sweep(() => new Map([[CART, 1]]));
  expect([held(slotOf(CART)), held(slotOf(DB))]).toEqual([1, 0]);
  expect(room.degraded).toEqual([]);
});

it('rows taken before their owner was listed count for the owner as soon as it is listed', () => {
  taken.values[ownerSlot.unlisted] = 2;
  room.sweep(() => new Map([[DB, 2]]));
  expect([held(ownerSlot.unlisted), held(slotOf(DB))]).toEqual([0, 2]);
});

it('keeps namespaces of unprivileged processes apart from other unlisted ones', () => {
  taken.values[ownerSlot.unlisted] = 1;
  taken.values[ownerSlot.nested] = 3;
  room.sweep(
    () =>
      new Map([
        [NOBODYS, 1],
        [NESTED, 3],
      ]),
  );
  expect([held(ownerSlot.unlisted), held(ownerSlot.nested)]).toEqual([1, 3]);
  expect(room.degraded).toEqual([
    'counts: namespaces without an owner used all 3 rows that they share; further counts are added together under the pod "unlisted"',
  ]);
});

it('names the owner who has used up its share, with all of its namespaces', () => {
  taken.values[slotOf(CART)] = 2;
  room.sweep(
    () =>
      new Map([
        [CART, 1],
        [MADE, 1],
        [DB, 1],
      ]),
  );
  expect(room.degraded).toEqual([
    'counts: shop/cart used all 2 rows that each Pod may have; further counts are added together',
  ]);
  room.sweep(() => new Map([[CART, 1]]));
  expect(room.degraded).toEqual([]);
});
