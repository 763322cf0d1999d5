import { beforeEach, expect, it } from 'vitest';
import { ownerSlot } from '#bpf/generated/common.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { NETNS_EACH_MAX, type OwnedNetns, OwnerSlots, SLOTS } from './owners.ts';

let owners: OwnerSlots;
let told: string[];

const owned = (id: number, owner: string): OwnedNetns => ({ id: asNetnsId(id), owner, name: `shop/${owner}` });
const slotOf = (id: number) => owners.slotOf(asNetnsId(id));
const nobodyIsDead = () => false;

beforeEach(() => {
  told = [];
  owners = new OwnerSlots({
    isUnowned: () => false,
    isNested: () => false,
    wasOwned: () => true,
    hasDeparted: () => false,
  });
  owners.follow({
    listed: (id: NetnsId, slot) => told.push(`+${id} ${slot}`),
    unlisted: (id) => told.push(`-${id}`),
    freed: (slot) => told.push(`freed ${slot}`),
  });
});

it('all namespaces of an owner share a slot, and each owner has its own', () => {
  owners.set([owned(1, 'cart'), owned(2, 'cart'), owned(3, 'db')]);
  expect([slotOf(1), slotOf(2), slotOf(3)]).toEqual([ownerSlot.first, ownerSlot.first, ownerSlot.first + 1]);
  expect(owners.ownerOf(ownerSlot.first)).toMatchObject({ name: 'shop/cart', home: 1 });
});

it('a later follower is told all listed namespaces', () => {
  owners.set([owned(1, 'cart')]);
  const late: number[] = [];
  owners.follow({ listed: (_, slot) => late.push(slot), unlisted: () => undefined, freed: () => undefined });
  expect(late).toEqual([ownerSlot.first]);
});

it('an owner has a bounded number of listed namespaces, and listed ones stay', () => {
  const many = Array.from({ length: NETNS_EACH_MAX + 5 }, (_, index) => owned(100 + index, 'cart'));
  owners.set([...many, owned(1, 'db')]);
  expect(many.filter(({ id }) => owners.slotOf(id) !== undefined)).toEqual(many.slice(0, NETNS_EACH_MAX));
  expect(slotOf(1)).toBe(ownerSlot.first + 1);
  told = [];
  owners.set(many);
  expect(told).toEqual([]);
});

it('a slot is free when the namespaces of its owner are dead, not before', () => {
  owners.set([owned(1, 'cart')]);
  owners.set([]);
  owners.sweep(nobodyIsDead);
  expect(slotOf(1)).toBe(ownerSlot.first);
  expect(owners.ownerOf(ownerSlot.first)).toMatchObject({ home: 1 });
  owners.set([owned(2, 'db')]);
  expect(slotOf(2)).toBe(ownerSlot.first + 1);
  owners.sweep((id) => id === 1);
  expect(told.slice(-2)).toEqual(['-1', `freed ${ownerSlot.first}`]);
  owners.set([owned(2, 'db'), owned(3, 'new')]);
  expect(slotOf(3)).toBe(ownerSlot.first);
});

it('a Pod that gets another namespace keeps its slot', () => {
  owners.set([owned(1, 'cart')]);
  owners.set([owned(2, 'cart')]);
  expect([slotOf(1), slotOf(2)]).toEqual([ownerSlot.first, ownerSlot.first]);
  owners.sweep((id) => id === 1);
  expect([slotOf(1), slotOf(2)]).toEqual([undefined, ownerSlot.first]);
  expect(owners.ownerOf(ownerSlot.first)?.home).toBe(2);
});

it('namespaces that an owner has left give way to new ones', () => {
  const old = Array.from({ length: NETNS_EACH_MAX }, (_, index) => owned(100 + index, 'cart'));
  owners.set(old);
  owners.set([owned(1, 'cart')]);
  expect([slotOf(100), slotOf(101), slotOf(1)]).toEqual([undefined, ownerSlot.first, ownerSlot.first]);
});

it('a namespace that passes to another owner belongs to that one', () => {
  owners.set([owned(1, 'cart'), owned(2, 'cart')]);
  owners.set([owned(1, 'cart'), owned(2, 'db')]);
  expect([slotOf(1), slotOf(2)]).toEqual([ownerSlot.first, ownerSlot.first + 1]);
});

it('owners without a slot share the room of unlisted namespaces, and are counted', () => {
  const room = SLOTS - ownerSlot.first;
  owners.set(Array.from({ length: room + 3 }, (_, index) => owned(index + 1, `pod ${index}`)));
  expect([slotOf(room), slotOf(room + 1), owners.withoutSlot]).toEqual([SLOTS - 1, undefined, 3]);
});
