import { MAX_ENTRIES, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';

/** Slots of the programs: those of src/bpf/common/share.bpf.h for unlisted namespaces, and one for each owner. */
export const SLOTS = MAX_ENTRIES.event_buckets;
/** Most listed namespaces of one owner: those that it makes beyond them are treated as unowned. */
export const NETNS_EACH_MAX = 16;
const OWNERS_MAX = SLOTS - ownerSlot.first;
/** Most listed namespaces. */
export const LISTED_MAX = OWNERS_MAX * NETNS_EACH_MAX;

/** Rows of a map that each slot may take. */
export interface Shares {
  readonly ofOwner: number;
  readonly ofUnlisted: number;
}

/** Shares out the rows of a map. Three quarters are for owners, in equal parts; the rest is for the two slots of unlisted namespaces. */
export function sharesOf(rows: number): Shares {
  const ofUnlisted = Math.floor(rows / 8);
  return { ofUnlisted, ofOwner: Math.max(1, Math.floor((rows - 2 * ofUnlisted) / OWNERS_MAX)) };
}

/** A namespace with an owner: of a Pod, a container or the node, or one with a name. */
export interface OwnedNetns {
  readonly id: NetnsId;
  /** Owner, equal for all namespaces that share room: namespaces that a Pod makes are the Pod's. */
  readonly owner: string;
  /** Name for the operator. */
  readonly name: string;
}

/** Receives the listed namespaces. */
export interface OwnersFollower {
  listed(id: NetnsId, slot: number): void;
  unlisted(id: NetnsId): void;
  /** Reports that nothing is left of the owner of a slot; the next owner starts from zero. */
  freed(slot: number): void;
}

/** Owners as BPF probes know them: each has room in their maps that no other owner can take (ADR 25). */
export interface Owners {
  /** Calls the follower at once for all listed namespaces, and for each change until disposed. */
  follow(follower: OwnersFollower): Disposable;
  slotOf(id: NetnsId): number | undefined;
  /** Returns how a map with this number of rows is shared out. */
  shares(rows: number): Shares;
  /** Returns the namespace under which counts of this one are shown: the Pod's own for those that a Pod has made. */
  homeOf(id: NetnsId): NetnsId;
  /** Returns the owner of a slot, and the namespace under which counts of the whole owner are shown. */
  ownerOf(slot: number): Pick<OwnerSlot, 'name' | 'home'> | undefined;
  /** Returns whether the namespace is alive, and has no owner after ten seconds of searching. */
  isUnowned(id: NetnsId): boolean;
  /** Returns whether the namespace was made by a process that is root only in a user namespace of its own. */
  isNested(id: NetnsId): boolean;
  /** Returns whether the namespace has, or had, an owner. */
  wasOwned(id: NetnsId): boolean;
  /** Returns whether the namespace had an owner, and its rows have left the page. */
  hasDeparted(id: NetnsId): boolean;
}

interface OwnerSlot {
  readonly slot: number;
  readonly name: string;
  /** First namespace of the owner; the last one when all are gone. */
  readonly home: NetnsId;
  readonly listed: ReadonlySet<NetnsId>;
  /** Listed namespaces that the owner has left: they may still lose packets until they are dead. */
  readonly left: ReadonlySet<NetnsId>;
}

/** Knowledge about namespaces beside their owners. */
type Known = Pick<Owners, 'isUnowned' | 'isNested' | 'wasOwned' | 'hasDeparted'>;

/** Gives owners their slots. A slot stays its owner's until the namespaces of that owner are dead. */
export class OwnerSlots implements Owners {
  readonly #known: Known;
  readonly #owners = new Map<string, OwnerSlot>();
  readonly #bySlot = new Map<number, string>();
  readonly #byNetns = new Map<NetnsId, number>();
  /** Owners by those of their namespaces that are not the first. */
  readonly #others = new Map<NetnsId, string>();
  readonly #followers = new Set<OwnersFollower>();
  readonly #free: number[] = [];
  #next: number = ownerSlot.first;
  #homeless = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  /** Number of owners that found no slot: they share the room of unlisted namespaces. */
  get withoutSlot(): number {
    return this.#homeless;
  }

  /** Takes all namespaces that have an owner now, an owner's own one before those that it has made. */
  set(owned: readonly OwnedNetns[]): void {
    const byOwner = Map.groupBy(owned, ({ owner }) => owner);
    const owners = new Map(owned.map(({ id, owner }) => [id, owner]));
    for (const [owner, slot] of this.#owners) {
      // Namespaces that belong to another owner now are dropped.
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

  /** Frees the slots of owners of which nothing is left. To be called after the maps were swept. */
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
      // Followers may ask for the owner of the slot once more.
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
