import { MAX_ENTRIES, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';

/**
 * Number of slots in the programs: one for each owner, and those for unlisted namespaces (src/bpf/common/share.bpf.h).
 */
export const SLOTS = MAX_ENTRIES.event_buckets;
/** Maximum number of listed namespaces per owner. All other namespaces of the owner count as unowned. */
export const NETNS_EACH_MAX = 16;
const OWNERS_MAX = SLOTS - ownerSlot.first;
/** Maximum number of listed namespaces. */
export const LISTED_MAX = OWNERS_MAX * NETNS_EACH_MAX;

/** Number of map rows that each slot may use. */
export interface Shares {
  readonly ofOwner: number;
  readonly ofUnlisted: number;
}

/**
 * Divides the rows of a map among the slots. The two slots of unlisted namespaces get an eighth each, and the remaining
 * rows are divided equally among the owners.
 */
export function sharesOf(rows: number): Shares {
  const ofUnlisted = Math.floor(rows / 8);
  return { ofUnlisted, ofOwner: Math.max(1, Math.floor((rows - 2 * ofUnlisted) / OWNERS_MAX)) };
}

/**
 * A namespace and its owner. The owner is a Pod, a container, the node or, if the namespace has a name, the namespace
 * itself.
 */
export interface OwnedNetns {
  readonly id: NetnsId;
  /**
   * Key of the owner. Namespaces with the same owner share rows. A namespace that a Pod has created is owned by the
   * Pod.
   */
  readonly owner: string;
  /** Name of the owner for operators. */
  readonly name: string;
}

/** Receives the listed namespaces, that is, those that are assigned to the slot of an owner. */
export interface OwnersFollower {
  listed(id: NetnsId, slot: number): void;
  unlisted(id: NetnsId): void;
  /** Called when an owner no longer exists. The counts of the slot's next owner start at zero. */
  freed(slot: number): void;
}

/** Owners as BPF probes use them. Each owner has a share of the maps that no other owner can use (ADR 25). */
export interface Owners {
  /** Calls the follower immediately for all listed namespaces, and later for each change until disposed. */
  follow(follower: OwnersFollower): Disposable;
  slotOf(id: NetnsId): number | undefined;
  /** Returns the number of rows for each slot in a map with this total number of rows. */
  shares(rows: number): Shares;
  /**
   * Returns the namespace under which the counts of `id` are shown. For a namespace that a Pod has created, this is the
   * Pod's own namespace.
   */
  homeOf(id: NetnsId): NetnsId;
  /** Returns the owner of a slot and the namespace under which all counts of the owner are shown. */
  ownerOf(slot: number): Pick<OwnerSlot, 'name' | 'home'> | undefined;
  /** Returns whether the namespace is alive and no owner was found within ten seconds. */
  isUnowned(id: NetnsId): boolean;
  /** Returns whether the namespace was created by a process that is root only in its own user namespace. */
  isNested(id: NetnsId): boolean;
  /** Returns whether the namespace has or had an owner. */
  wasOwned(id: NetnsId): boolean;
  /** Returns whether the namespace had an owner that is no longer on the page. */
  hasDeparted(id: NetnsId): boolean;
}

interface OwnerSlot {
  readonly slot: number;
  readonly name: string;
  /** First namespace of the owner. If all of them are dead, the last known one. */
  readonly home: NetnsId;
  readonly listed: ReadonlySet<NetnsId>;
  /** Listed namespaces that the owner has left. As long as they exist, packets may still be dropped in them. */
  readonly left: ReadonlySet<NetnsId>;
}

/** Facts about namespaces that do not depend on slots. */
type Known = Pick<Owners, 'isUnowned' | 'isNested' | 'wasOwned' | 'hasDeparted'>;

/** Assigns slots to owners. An owner keeps its slot until all of its namespaces are dead. */
export class OwnerSlots implements Owners {
  readonly #known: Known;
  readonly #owners = new Map<string, OwnerSlot>();
  readonly #bySlot = new Map<number, string>();
  readonly #byNetns = new Map<NetnsId, number>();
  /** Owners of all namespaces other than the first namespace of each owner. */
  readonly #others = new Map<NetnsId, string>();
  readonly #followers = new Set<OwnersFollower>();
  readonly #free: number[] = [];
  #next: number = ownerSlot.first;
  #homeless = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  /** Number of owners that have no slot, and share the rows of unlisted namespaces. */
  get withoutSlot(): number {
    return this.#homeless;
  }

  /**
   * Replaces the list of owned namespaces. The owner's own namespace must precede the namespaces that it has created.
   */
  set(owned: readonly OwnedNetns[]): void {
    const byOwner = Map.groupBy(owned, ({ owner }) => owner);
    const owners = new Map(owned.map(({ id, owner }) => [id, owner]));
    for (const [owner, slot] of this.#owners) {
      // Namespaces that now belong to another owner are removed.
      const listed = new Set([...slot.listed].filter((id) => (owners.get(id) ?? owner) === owner));
      for (const id of slot.listed) if (!listed.has(id)) this.#unlist(id);
      this.#owners.set(owner, { ...slot, listed, left: new Set([...listed].filter((id) => !owners.has(id))) });
    }
    this.#homeless = 0;
    for (const [owner, namespaces] of byOwner) this.#put(owner, namespaces);
  }

  follow(follower: OwnersFollower): Disposable {
    this.#followers.add(follower);
    for (const [id, slot] of this.#byNetns) follower.listed(id, slot);
    return { [Symbol.dispose]: () => void this.#followers.delete(follower) };
  }

  slotOf(id: NetnsId): number | undefined {
    return this.#byNetns.get(id);
  }

  shares(rows: number): Shares {
    return sharesOf(rows);
  }

  homeOf(id: NetnsId): NetnsId {
    const owner = this.#others.get(id);
    return (owner === undefined ? undefined : this.#owners.get(owner)?.home) ?? id;
  }

  ownerOf(slot: number): OwnerSlot | undefined {
    const owner = this.#bySlot.get(slot);
    return owner === undefined ? undefined : this.#owners.get(owner);
  }

  isUnowned(id: NetnsId): boolean {
    return this.#known.isUnowned(id);
  }

  isNested(id: NetnsId): boolean {
    return this.#known.isNested(id);
  }

  wasOwned(id: NetnsId): boolean {
    return this.#known.wasOwned(id);
  }

  hasDeparted(id: NetnsId): boolean {
    return this.#known.hasDeparted(id);
  }

  /** Frees the slots of owners whose namespaces are all dead. Must be called after the maps have been swept. */
  sweep(isDead: (id: NetnsId) => boolean): void {
    for (const id of this.#others.keys()) if (isDead(id)) this.#others.delete(id);
    for (const [owner, before] of this.#owners) {
      const { slot, home } = before;
      const listed = new Set(before.listed);
      const left = new Set(before.left);
      for (const id of before.left) {
        if (!isDead(id)) continue;
        listed.delete(id);
        left.delete(id);
        this.#unlist(id);
      }
      this.#owners.set(owner, { ...before, listed, left });
      if (listed.size > 0 || !isDead(home)) continue;
      // The owner keeps its slot during these calls, because followers may look it up.
      for (const follower of this.#followers) follower.freed(slot);
      this.#owners.delete(owner);
      this.#bySlot.delete(slot);
      this.#free.push(slot);
    }
  }

  #put(owner: string, namespaces: readonly OwnedNetns[]): void {
    const [first] = namespaces;
    const before = this.#owners.get(owner);
    const slot = before?.slot ?? this.#takeSlot();
    if (first === undefined || slot === undefined) {
      this.#homeless++;
      return;
    }
    for (const { id } of namespaces) this.#others.set(id, owner);
    this.#others.delete(first.id);
    const listed = new Set(before?.listed);
    const left = new Set(before?.left);
    for (const { id } of namespaces) {
      if (listed.has(id)) continue;
      const [oldest] = left;
      if (listed.size >= NETNS_EACH_MAX && oldest !== undefined) {
        listed.delete(oldest);
        left.delete(oldest);
        this.#unlist(oldest);
      }
      if (listed.size >= NETNS_EACH_MAX) continue;
      listed.add(id);
      this.#byNetns.set(id, slot);
      for (const follower of this.#followers) follower.listed(id, slot);
    }
    this.#owners.set(owner, { slot, name: first.name, home: first.id, listed, left });
    this.#bySlot.set(slot, owner);
  }

  #takeSlot(): number | undefined {
    const slot = this.#free.shift();
    if (slot !== undefined) return slot;
    return this.#next < SLOTS ? this.#next++ : undefined;
  }

  #unlist(id: NetnsId): void {
    this.#byNetns.delete(id);
    for (const follower of this.#followers) follower.unlisted(id);
  }
}
