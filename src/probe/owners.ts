import { MAX_ENTRIES, ownerSlot } from '#bpf/generated/common.ts';
import type { NetnsId } from '#core/netns.ts';

/** Slots of the programs: those of src/bpf/common/share.bpf.h for who is not listed, and one for each owner. */
export const SLOTS = MAX_ENTRIES.event_buckets;
/** Namespaces of one owner that are listed: what it makes beyond them is treated as nobody's. */
export const NETNS_EACH_MAX = 16;
const OWNERS_MAX = SLOTS - ownerSlot.first;
/** Namespaces that are listed at most. */
export const LISTED_MAX = OWNERS_MAX * NETNS_EACH_MAX;

/** Rows of a map that each slot may take. */
export interface Shares {
  readonly ofOwner: number;
  readonly ofUnlisted: number;
}

/** Three quarters are for owners, so many for each; the rest is for the two slots of those that are not listed. */
export function sharesOf(rows: number): Shares {
  const ofUnlisted = Math.floor(rows / 8);
  return { ofUnlisted, ofOwner: Math.max(1, Math.floor((rows - 2 * ofUnlisted) / OWNERS_MAX)) };
}

/** A namespace that is somebody's: of a Pod, a container, the node, or one with a name. */
export interface OwnedNetns {
  readonly id: NetnsId;
  /** The same for all that share room: what a Pod makes is the Pod's. */
  readonly owner: string;
  /** For the operator. */
  readonly name: string;
}

/** Is told who is listed. */
export interface OwnersFollower {
  listed(id: NetnsId, slot: number): void;
  unlisted(id: NetnsId): void;
  /** Nothing is left of the owner of a slot; the next one begins anew. */
  freed(slot: number): void;
}

/** What BPF probes know of owners: each has room in their maps that nobody else can take (ADR 25). */
export interface Owners {
  /** Calls at once for what is listed, and for each change until disposed. */
  follow(follower: OwnersFollower): Disposable;
  slotOf(id: NetnsId): number | undefined;
  /** How a map of so many rows is shared. */
  shares(rows: number): Shares;
  /** The namespace that what is counted in this one is shown under: of those that a Pod has made, the Pod's own. */
  homeOf(id: NetnsId): NetnsId;
  /** Who has a slot, and the namespace that what is his alone is shown under. */
  ownerOf(slot: number): Pick<OwnerSlot, 'name' | 'home'> | undefined;
  /** The namespace is alive, and after ten seconds of looking it is nobody's. */
  isUnowned(id: NetnsId): boolean;
  /** The namespace was made by a process that is root only in a user namespace of its own. */
  isNested(id: NetnsId): boolean;
  /** The namespace is somebody's, or was. */
  wasOwned(id: NetnsId): boolean;
  /** The namespace was somebody's, and its rows have left the page. */
  hasDeparted(id: NetnsId): boolean;
}

interface OwnerSlot {
  readonly slot: number;
  readonly name: string;
  /** Of his namespaces the first; the last one when all have gone. */
  readonly home: NetnsId;
  readonly listed: ReadonlySet<NetnsId>;
  /** Of those the ones that he has left: they may still lose packets, until they are dead. */
  readonly left: ReadonlySet<NetnsId>;
}

/** What is known of namespaces beside their owners. */
type Known = Pick<Owners, 'isUnowned' | 'isNested' | 'wasOwned' | 'hasDeparted'>;

/** Gives owners their slots. A slot stays its owner's until the namespaces of that owner are dead. */
export class OwnerSlots implements Owners {
  readonly #known: Known;
  readonly #owners = new Map<string, OwnerSlot>();
  readonly #bySlot = new Map<number, string>();
  readonly #byNetns = new Map<NetnsId, number>();
  /** By namespace that is not its owner's first: the owner. */
  readonly #others = new Map<NetnsId, string>();
  readonly #followers = new Set<OwnersFollower>();
  readonly #free: number[] = [];
  #next: number = ownerSlot.first;
  #homeless = 0;

  constructor(known: Known) {
    this.#known = known;
  }

  /** Owners that have found no slot: they share the room of who is not listed. */
  get withoutSlot(): number {
    return this.#homeless;
  }

  /** Takes all namespaces that are somebody's now, an owner's own one before those that it has made. */
  set(owned: readonly OwnedNetns[]): void {
    const byOwner = Map.groupBy(owned, ({ owner }) => owner);
    const owners = new Map(owned.map(({ id, owner }) => [id, owner]));
    for (const [owner, slot] of this.#owners) {
      // It is another's now.
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

  /** Frees the slots of owners of whom nothing is left: to be called when the maps have been swept. */
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
      // They may ask once more whose it was.
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
