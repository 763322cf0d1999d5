import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, type Shares, SLOTS } from './owners.ts';

/** Network namespaces that a node may hold: many more than Pods, since a Pod may make some of its own. */
export const NAMESPACES_MAX = 16_384;

/** Maps that src/bpf/common/room.bpf.h adds to an object. */
const TAKEN: CommonLayout['map'] = 'rows_taken';
const RETURNED: CommonLayout['map'] = 'rows_returned';

/** Most owners without room that are named. */
const NAMED_MAX = 3;

/** Tells the programs of an object how many of its rows each slot has given back, and which slots have none left. */
export class Room {
  readonly #map: string;
  readonly #taken: BpfMap;
  readonly #returned: BpfMap;
  readonly #shares: Shares;
  readonly #owners: Owners;
  /** Slots without room at the last look. */
  #full: readonly number[] = [];

  /** @param map name of the map whose rows are shared */
  constructor(object: BpfObject, map: string, shares: Shares, owners: Owners) {
    this.#map = map;
    this.#taken = object.map(TAKEN);
    this.#returned = object.map(RETURNED);
    this.#shares = shares;
    this.#owners = owners;
  }

  /**
   * Counts the rows that each slot holds again: rows of the dead are returned, and rows of a namespace that was listed meanwhile are its
   * owner's.
   * @param sweep drops the rows of the dead, and returns the number of rows of each namespace
   */
  sweep(sweep: () => ReadonlyMap<NetnsId, number>): void {
    // Read before the sweep: rows that a program takes meanwhile then count twice until the next sweep, and are never lost.
    const taken = readSlots(this.#taken);
    const held = new Uint32Array(SLOTS);
    for (const [id, rows] of sweep()) {
      const slot = this.#owners.slotOf(id) ?? (this.#owners.isNested(id) ? ownerSlot.nested : ownerSlot.unlisted);
      held[slot] = (held[slot] ?? 0) + rows;
    }
    const returned = readSlots(this.#returned);
    const full: number[] = [];
    // A loop by index: thousands of slots are read each second, and an iterator makes an object for each.
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
        : [`${this.#map}: ${names.join(', ')}${more} used up the ${ofOwner} rows of a Pod: further rows are added up`]),
      ...(owners.length === this.#full.length
        ? []
        : [
            `${this.#map}: unowned namespaces used up their ${ofUnlisted} rows: further rows are added up under the pod "unlisted"`,
          ]),
    ];
  }

  #shareOf(slot: number): number {
    return slot < ownerSlot.first ? this.#shares.ofUnlisted : this.#shares.ofOwner;
  }
}

/** Returns the u32 of each slot. */
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
