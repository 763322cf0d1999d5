import type { NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';

/**
 * Returns the key of the owner to which an entity is assigned. Namespaces that are named after a process share one
 * owner, because a process can create any number of namespaces.
 */
export function ownerKey({ kind, uid, netns }: Pick<Entity, 'kind' | 'uid' | 'netns'>): string {
  if (kind === 'process') return kind;
  return uid === '' ? `${kind} ${netns}` : uid;
}

/**
 * Stores values for a limited number of namespaces or other keys. When the limit is exceeded, the oldest entry of the
 * owner with the most entries is evicted.
 */
export class SharedRoom<V, K = NetnsId> {
  readonly #max: number;
  readonly #values = new Map<K, { readonly owner: string; readonly value: V }>();
  readonly #owners = new Map<string, Set<K>>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#values.size;
  }

  has(id: K): boolean {
    return this.#values.has(id);
  }

  get(id: K): V | undefined {
    return this.#values.get(id)?.value;
  }

  /** Yields the entries in the order in which they were added. */
  *entries(): Generator<[K, V]> {
    for (const [id, { value }] of this.#values) yield [id, value];
  }

  /** Adds a value. Returns whether another entry was evicted. */
  set(id: K, owner: string, value: V): boolean {
    const before = this.#values.get(id);
    if (before !== undefined && before.owner !== owner) this.delete(id);
    this.#values.set(id, { owner, value });
    const ids = this.#owners.get(owner);
    if (ids === undefined) this.#owners.set(owner, new Set([id]));
    else ids.add(id);
    if (this.#values.size <= this.#max) return false;
    const [oldest] = this.#largest();
    if (oldest !== undefined) this.delete(oldest);
    return true;
  }

  delete(id: K): void {
    const found = this.#values.get(id);
    if (found === undefined) return;
    this.#values.delete(id);
    const ids = this.#owners.get(found.owner);
    ids?.delete(id);
    if (ids?.size === 0) this.#owners.delete(found.owner);
  }

  deleteOwner(owner: string): void {
    for (const id of [...(this.#owners.get(owner) ?? [])]) this.delete(id);
  }

  clear(): void {
    this.#values.clear();
    this.#owners.clear();
  }

  /**
   * Returns the keys of the owner with the most entries. If several owners have equally many, the first one is chosen.
   */
  #largest(): ReadonlySet<K> {
    let largest: ReadonlySet<K> = new Set();
    for (const ids of this.#owners.values()) if (ids.size > largest.size) largest = ids;
    return largest;
  }
}
