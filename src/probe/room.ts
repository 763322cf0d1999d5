import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, type Shares, SLOTS } from './owners.ts';

/** Network namespaces that a node may hold: many more than Pods, since a Pod may make some of its own. */
export const NAMESPACES_MAX = 16_384;

/** What src/bpf/common/room.bpf.h puts into an object. */
const TAKEN: CommonLayout['map'] = 'rows_taken';
const RETURNED: CommonLayout['map'] = 'rows_returned';

/** Owners that are named of those that have no room left. */
const NAMED_MAX = 3;

/** Tells the programs of an object what has been given back of the rows that each slot took, and who has none left. */
export class Room {
  readonly #map: string;
  readonly #taken: BpfMap;
  readonly #returned: BpfMap;
  readonly #shares: Shares;
  readonly #owners: Owners;
  /** By slot, at the last look. */
  #full: readonly number[] = [];

  /** @param map whose rows they are */
  constructor(object: BpfObject, map: string, shares: Shares, owners: Owners) {
    this.#map = map;
    this.#taken = object.map(TAKEN);
    this.#returned = object.map(RETURNED);
    this.#shares = shares;
    this.#owners = owners;
  }

  /**
   * Counts anew what each slot holds: rows of the dead are back, and those of a namespace that was listed meanwhile are its
   * owner's.
   * @param sweep drops the rows of the dead, and returns how many each namespace has
   */
  sweep(sweep: () => ReadonlyMap<NetnsId, number>): void {
    // Before: what a program takes meanwhile is then held twice until the next sweep, and never lost.
    const taken = readSlots(this.#taken);
    const held = new Uint32Array(SLOTS);
    for (const [id, rows] of sweep()) {
      const slot = this.#owners.slotOf(id) ?? (this.#owners.isNested(id) ? ownerSlot.nested : ownerSlot.unlisted);
      held[slot] = (held[slot] ?? 0) + rows;
    }
    const returned = readSlots(this.#returned);
    const full: number[] = [];
    // By index: each second thousands of slots are looked at, and an iterator makes an object for each.
    for (let slot = 0; slot < SLOTS; slot++) {
      const rows = held[slot] ?? 0;
      const back = ((taken[slot] ?? 0) - rows) >>> 0;
      if (back !== returned[slot]) this.#returned.update(bytesOf(slot), bytesOf(back));
      if (rows >= this.#shareOf(slot)) full.push(slot);
    }
    this.#full = full;
  }

  get degraded(): string[] {
    const { ofOwner, ofUnlisted } = this.#shares;
    const owners = this.#full.filter((slot) => slot >= ownerSlot.first);
    const names = owners.slice(0, NAMED_MAX).map((slot) => this.#owners.ownerOf(slot)?.name ?? `slot ${slot}`);
    const more = owners.length > NAMED_MAX ? ` and ${owners.length - NAMED_MAX} more` : '';
    return [
      ...(owners.length === 0
        ? []
        : [`${this.#map}: ${names.join(', ')}${more} used up the ${ofOwner} rows of a Pod: what is more is added up`]),
      ...(owners.length === this.#full.length
        ? []
        : [
            `${this.#map}: namespaces that are nobody's used up their ${ofUnlisted} rows: what is more is added up as the pod "unlisted"`,
          ]),
    ];
  }

  #shareOf(slot: number): number {
    return slot < ownerSlot.first ? this.#shares.ofUnlisted : this.#shares.ofOwner;
  }
}

/** The u32 of each slot. */
function readSlots(map: BpfMap): Uint32Array {
  const { count, view, keyAt, valueAt } = map.dump();
  const values = new Uint32Array(SLOTS);
  for (let index = 0; index < count; index++) {
    values[view.getUint32(keyAt(index), true)] = view.getUint32(valueAt(index), true);
  }
  return values;
}

export function bytesOf(u32: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(u32).buffer);
}
