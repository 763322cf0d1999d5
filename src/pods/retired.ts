import type { NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { ownerKey, SharedRoom } from './shared_room.ts';

/** Entities whose namespaces are dead and whose last values are still shown, in the order of their deaths. No Pod takes the room of others. */
export class Retired {
  readonly #entities: SharedRoom<{ readonly entity: Entity; readonly untilMs: number }>;
  #dropped = 0;

  constructor(max: number) {
    this.#entities = new SharedRoom(max);
  }

  get entities(): Entity[] {
    return [...this.#entities.entries()].map(([, { entity }]) => entity);
  }

  get size(): number {
    return this.#entities.size;
  }

  /** Entities that had to go before their time, because too many died. */
  get dropped(): number {
    return this.#dropped;
  }

  has(id: NetnsId): boolean {
    return this.#entities.has(id);
  }

  add(entity: Entity, untilMs: number): void {
    const retired = { entity: { ...entity, isRetired: true }, untilMs };
    if (this.#entities.set(entity.netns, ownerKey(entity), retired)) this.#dropped++;
  }

  delete(id: NetnsId): void {
    this.#entities.delete(id);
  }

  clear(): void {
    this.#entities.clear();
  }

  /** Lets go of those whose time is over and that nothing holds; returns whether there was any. */
  expire(nowMs: number, isHeld: (id: NetnsId) => boolean = () => false): boolean {
    const before = this.#entities.size;
    for (const [id, { untilMs }] of [...this.#entities.entries()])
      if (untilMs <= nowMs && !isHeld(id)) this.#entities.delete(id);
    return this.#entities.size < before;
  }
}
