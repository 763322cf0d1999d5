import type { NetnsId } from '#core/netns.ts';
import type { NetnsDeath, NetnsDeparture, NetnsWatcher } from '#probe/life.ts';
import type { Entity } from './entity.ts';
import { type LastWords, Retired, retiredMax } from './retired.ts';
import { ownerKey, SharedRoom } from './shared_room.ts';

/**
 * Maximum number of dead namespaces to remember. Samples of these namespaces that are still collected do not count as
 * samples of unknown namespaces.
 */
const DEAD_MAX = 4_096;

/**
 * Milliseconds for which a namespace is remembered after it was last listed by the kernel and its last values were last
 * shown. The sweepers remove its data within seconds. `/api/v1/flows` and the map have the connections of its owner under
 * its name until then.
 */
export const REMEMBERED_MS = 900_000;

/** Last owner of a dead namespace. */
interface Dead {
  readonly entity: Entity;
  /** When the namespace is forgotten, unless it is listed or shown then. */
  forgetMs: number;
  /** Whether the kernel has reported the destruction of the namespace, so that it cannot reappear. */
  readonly isFinal: boolean;
}

/**
 * Whether an entity is retired when it dies, that is, its last values remain visible. The node and namespaces that are
 * named after a process are not retired.
 */
function mayRetire({ kind }: Entity): boolean {
  return kind !== 'process' && kind !== 'node';
}

/**
 * Dead namespaces of this machine with their last owners. Entities among them whose last values are still shown are
 * called retired.
 */
export class DeadNamespaces {
  readonly #dead = new SharedRoom<Dead>(DEAD_MAX);
  readonly #retired: Retired;
  #watcher: NetnsWatcher | undefined;
  #isHeld: (id: NetnsId) => boolean = () => false;

  /** @param shownMax maximum number of retired entities */
  constructor(shownMax: number) {
    this.#retired = new Retired(shownMax);
  }

  /** Dead entities whose last values are still shown. */
  get retired(): Pick<Retired, 'entities' | 'size' | 'unknown' | 'dropped' | 'passedOver' | 'has'> {
    return this.#retired;
  }

  has(id: NetnsId): boolean {
    return this.#dead.has(id);
  }

  /** Whether the kernel has reported the destruction of the namespace, so that it cannot reappear. */
  isFinal(id: NetnsId): boolean {
    return this.#dead.get(id)?.isFinal === true;
  }

  /** Returns the last owner of a dead namespace. */
  lastKnown(id: NetnsId): Entity | undefined {
    return this.#dead.get(id)?.entity;
  }

  /** Sets the watcher. Without one, no entity is retired. */
  watch(watcher: NetnsWatcher | undefined): void {
    this.#watcher = watcher;
    if (watcher === undefined) this.#retired.clear();
  }

  beforeLook(): void {
    this.#watcher?.beforeLook();
  }

  /** Keeps a retired entity beyond its expiry as long as `isHeld` returns true for it. */
  hold(isHeld: (id: NetnsId) => boolean): void {
    this.#isHeld = isHeld;
  }

  /** Records that an entity is dead. Its last values are shown for a while. */
  bury(entity: Entity, isFinal: boolean, nowMs: number): void {
    this.#dead.set(entity.netns, ownerKey(entity), { entity, isFinal, forgetMs: nowMs + REMEMBERED_MS });
    if (this.#watcher !== undefined && mayRetire(entity)) this.#retired.add(entity, nowMs + this.#watcher.retireMs);
  }

  /** Reports to the watcher that the entity has left its namespace. */
  departed(entity: Entity, departure: NetnsDeparture): void {
    if (mayRetire(entity)) this.#watcher?.departed(departure);
  }

  /** Records that the kernel has reported the destruction of a namespace. */
  died(death: NetnsDeath): void {
    const { id } = death;
    const dead = this.#dead.get(id);
    if (dead !== undefined) this.#dead.set(id, ownerKey(dead.entity), { ...dead, isFinal: true });
    this.#watcher?.died(death, this.#retired.has(id));
  }

  /** Records that a namespace is alive. */
  revive(id: NetnsId): void {
    this.#retired.delete(id);
  }

  /**
   * Drops retired entities, as described for `NetnsRegistry.chooseRetired`. @param living number of shown live entities
   * @returns whether any was dropped
   */
  choose(words: (id: NetnsId) => LastWords | undefined, hasPods: boolean, living: number): boolean {
    if (this.#watcher === undefined) return false;
    const max = retiredMax(living, this.#watcher.retireShare);
    return this.#retired.choose({ max, hasPods, words });
  }

  /**
   * Drops expired retired entities, unless they are held, and forgets namespaces that have been dead for long.
   * @param isListed returns whether the kernel still lists a namespace, although it has no owner any more
   * @returns whether any retired entity was dropped
   */
  expire(nowMs: number, isListed: (id: NetnsId) => boolean): boolean {
    for (const [id, dead] of this.#dead.entries()) {
      if (this.#retired.has(id) || isListed(id)) dead.forgetMs = nowMs + REMEMBERED_MS;
      else if (dead.forgetMs <= nowMs) this.#dead.delete(id);
    }
    return this.#retired.expire(nowMs, this.#isHeld);
  }
}
