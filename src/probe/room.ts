import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, type Shares, SLOTS } from './owners.ts';

/**
 * Maximum number of network namespaces on a node. It is much larger than the number of Pods because a Pod may create
 * namespaces.
 */
export const NAMESPACES_MAX = 16_384;

/** Maps that src/bpf/common/room.bpf.h adds to an object. */
const TAKEN: CommonLayout['map'] = 'rows_taken';
const RETURNED: CommonLayout['map'] = 'rows_returned';

/** Maximum number of owners without free rows that are named in a message. */
const NAMED_MAX = 3;

/**
 * Tells the programs of an object how many rows of each slot were freed. Also finds the slots that have no free rows.
 */
export class Room {
  readonly #map: string;
  readonly #taken: BpfMap;
  readonly #returned: BpfMap;
  readonly #shares: Shares;
  readonly #owners: Owners;
  /** Slots that had no free rows after the last sweep. */
  #full: readonly number[] = [];

  /**
   * @param map name of the map whose rows are divided among the slots
   */
  constructor(object: BpfObject, map: string, shares: Shares, owners: Owners) {
    this.#map = map;
    this.#taken = object.map(TAKEN);
    this.#returned = object.map(RETURNED);
    this.#shares = shares;
    this.#owners = owners;
  }

  /**
   * Recounts the rows of each slot. Rows of dead namespaces are freed, and the rows of a namespace that was listed
   * meanwhile belong to its owner from now on.
   * @param sweep removes the rows of dead namespaces and returns the number of rows of each other namespace
   */
  sweep(sweep: () => ReadonlyMap<NetnsId, number>): void {
    // Must be read before the sweep. Rows that a program adds meanwhile then count twice until the next sweep, but
    // never go uncounted.
    const taken = readSlots(this.#taken);
    const held = new Uint32Array(SLOTS);
    for (const [id, rows] of sweep()) {
      const slot = roomOf(this.#owners, id);
      held[slot] = (held[slot] ?? 0) + rows;
    }
    const returned = readSlots(this.#returned);
    const full: number[] = [];
    // Loops by index because thousands of slots are read each second and an iterator would allocate an object for
    // each.
    for (let slot = 0; slot < SLOTS; slot++) {
      const rows = held[slot] ?? 0;
      const back = ((taken[slot] ?? 0) - rows) >>> 0;
      if (back !== returned[slot]) this.#returned.update(bytesOf(slot), bytesOf(back));
      if (rows >= this.#shareOf(slot)) full.push(slot);
    }
    this.#full = full;
  }

  get degraded(): string[] {
    return describeFull(this.#map, this.#full, this.#shares, this.#owners);
  }

  #shareOf(slot: number): number {
    return slot < ownerSlot.first ? this.#shares.ofUnlisted : this.#shares.ofOwner;
  }
}

/** Describes the slots that have no rows left, and names some of their owners. */
export function describeFull(
  map: string,
  full: readonly number[],
  { ofOwner, ofUnlisted }: Shares,
  owners: Owners,
): string[] {
  const owned = full.filter((slot) => slot >= ownerSlot.first);
  const names = owned.slice(0, NAMED_MAX).map((slot) => owners.ownerOf(slot)?.name ?? `slot ${slot}`);
  const more = owned.length > NAMED_MAX ? ` and ${owned.length - NAMED_MAX} more` : '';
  return [
    ...(owned.length === 0
      ? []
      : [`${map}: ${names.join(', ')}${more} used up the ${ofOwner} rows of a Pod; counts of further rows are summed`]),
    ...(owned.length === full.length
      ? []
      : [
          `${map}: unowned namespaces used up their ${ofUnlisted} rows; counts of further rows are summed under the pod "unlisted"`,
        ]),
  ];
}

/** Returns the slot whose rows a namespace uses. */
export function roomOf(owners: Owners, id: NetnsId): number {
  return owners.slotOf(id) ?? (owners.isNested(id) ? ownerSlot.nested : ownerSlot.unlisted);
}

/** Reads the u32 value of each slot. */
export function readSlots(map: BpfMap): Uint32Array {
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
