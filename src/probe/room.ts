import type { BpfMap, BpfObject } from 'bpf-napi';
import { type CommonLayout, ownerSlot } from '#bpf/generated/common.ts';
import { bytesOf } from '#bpf/layout.ts';
import type { NetnsId } from '#core/netns.ts';
import { type Owners, type Shares, SLOTS } from './owners.ts';

/**
 * Maximum number of network namespaces on a node. It is much larger than the number of Pods, because a Pod may create
 * namespaces.
 */
export const NAMESPACES_MAX = 16_384;

/** Maps that src/bpf/common/room.bpf.h adds to an object. */
const TAKEN: CommonLayout['map'] = 'rows_taken';
const RETURNED: CommonLayout['map'] = 'rows_returned';

/** Maximum number of owners to name in a message about owners without free rows. */
const NAMED_MAX = 3;

/**
 * Tells the programs of an object how many rows of each slot have been freed. Also finds the slots that have no free
 * rows.
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
   * @param counters names of the maps that count allocated and freed rows
   */
  constructor(
    object: BpfObject,
    map: string,
    shares: Shares,
    owners: Owners,
    counters: { readonly taken: string; readonly returned: string } = { taken: TAKEN, returned: RETURNED },
  ) {
    this.#map = map;
    this.#taken = object.map(counters.taken);
    this.#returned = object.map(counters.returned);
    this.#shares = shares;
    this.#owners = owners;
  }

  /**
   * Recounts the rows of each slot. Rows of dead namespaces are freed. If a namespace was listed since the last sweep,
   * its rows are now counted in the slot of its owner.
   * @param sweep removes the rows of dead namespaces, and returns the number of rows of each other namespace
   */
  sweep(sweep: () => ReadonlyMap<NetnsId, number>): void {
    // This must be read before the sweep. Rows that a program adds in between then count twice until the next sweep,
    // rather than not at all.
    const taken = readSlots(this.#taken);
    const held = new Uint32Array(SLOTS);
    for (const [id, rows] of sweep()) {
      const slot = roomOf(this.#owners, id);
      held[slot] = (held[slot] ?? 0) + rows;
    }
    const returned = readSlots(this.#returned);
    const full: number[] = [];
    // An index is used because thousands of slots are read each second, and an iterator would allocate an object for
    // each of them.
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

/** Describes which slots have no free rows, and names some of their owners. */
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
      : [
          `${map}: ${names.join(', ')}${more} used all ${ofOwner} rows that each Pod may have; further counts are added together`,
        ]),
    ...(owned.length === full.length
      ? []
      : [
          `${map}: namespaces without an owner used all ${ofUnlisted} rows that they share; further counts are added together under the pod "unlisted"`,
        ]),
  ];
}

/** Returns the slot whose rows the counts of a namespace use. */
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
