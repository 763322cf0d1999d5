import type { NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { ownerKey } from './shared_room.ts';

/**
 * Losses that the last values of a dead entity show: lost packets or connections, other trouble such as resets, or nothing of either;
 * `unknown` until the values have been collected.
 */
export type LastWords = 'loss' | 'trouble' | 'unknown' | 'nothing';

/** Order in which the dead are kept. */
const RANK: Readonly<Record<LastWords, number>> = { loss: 0, trouble: 1, unknown: 2, nothing: 3 };

/** Number of dead entities that are shown in any case, however few are alive. */
export const RETIRED_MIN = 16;

export interface RetiredEntity {
  readonly entity: Entity;
  readonly untilMs: number;
  readonly words: LastWords;
}

export interface Choice {
  /** Number of entities with known last values that stay. */
  readonly max: number;
  /** Whether entities that are not Pods stay only where they have lost something. */
  readonly hasPods: boolean;
  /** Losses that the last values of an entity show; undefined where they have not been collected since its death. */
  readonly words: (id: NetnsId) => LastWords | undefined;
}

/**
 * Returns how many dead entities make up the given share of all that are shown.
 * @param living number of live entities that are shown
 */
export function retiredMax(living: number, share: number): number {
  return share < 1 ? Math.max(RETIRED_MIN, Math.floor((living * share) / (1 - share))) : Number.POSITIVE_INFINITY;
}

/**
 * Returns the dead in the order in which they are shown: first one of each owner, since one Pod may make many namespaces; among those,
 * entities with a loss come first, then those with other trouble, then the youngest.
 * @param dead entities in the order of their deaths
 */
export function rankRetired(dead: readonly RetiredEntity[]): RetiredEntity[] {
  const turns = new Map<string, number>();
  return dead
    .map((retired, age) => ({ retired, age }))
    .sort((a, b) => RANK[a.retired.words] - RANK[b.retired.words] || b.age - a.age)
    .map(({ retired }) => {
      const owner = ownerKey(retired.entity);
      const turn = turns.get(owner) ?? 0;
      turns.set(owner, turn + 1);
      return { retired, turn };
    })
    .sort((a, b) => a.turn - b.turn)
    .map(({ retired }) => retired);
}

/** Entities whose namespaces are dead and whose last values are still shown, in the order of their deaths. */
export class Retired {
  readonly #max: number;
  readonly #dead = new Map<NetnsId, RetiredEntity>();
  #dropped = 0;
  #passedOver = 0;

  /** @param max number of entities that are kept, even before their losses are known */
  constructor(max: number) {
    this.#max = max;
  }

  get entities(): Entity[] {
    return [...this.#dead.values()].map(({ entity }) => entity);
  }

  get size(): number {
    return this.#dead.size;
  }

  /** Number of entities whose losses are not known yet. */
  get unknown(): number {
    return [...this.#dead.values()].filter(({ words }) => words === 'unknown').length;
  }

  /** Number of entities that were dropped before their time, because too many died. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Number of entities that were dropped at once: not Pods, on a node that has Pods, and without loss. */
  get passedOver(): number {
    return this.#passedOver;
  }

  has(id: NetnsId): boolean {
    return this.#dead.has(id);
  }

  add(entity: Entity, untilMs: number): void {
    this.#dead.set(entity.netns, { entity: { ...entity, isRetired: true }, untilMs, words: 'unknown' });
    if (this.#dead.size > this.#max) this.#fit([...this.#dead.values()], this.#max);
  }

  /**
   * Drops, of the entities whose last values have been collected, all that are not worth their place on the page.
   * @returns whether any was dropped
   */
  choose({ max, hasPods, words }: Choice): boolean {
    const before = this.#dead.size;
    for (const [id, retired] of this.#dead) {
      const told = words(id) ?? retired.words;
      if (hasPods && retired.entity.kind !== 'pod' && (told === 'trouble' || told === 'nothing')) {
        this.#dead.delete(id);
        this.#passedOver++;
      } else if (told !== retired.words) this.#dead.set(id, { ...retired, words: told });
    }
    // Entities that died after the collection began are judged by the next one.
    this.#fit(
      [...this.#dead.values()].filter((retired) => retired.words !== 'unknown'),
      max,
    );
    return this.#dead.size < before;
  }

  delete(id: NetnsId): void {
    this.#dead.delete(id);
  }

  clear(): void {
    this.#dead.clear();
  }

  /** Drops those whose time is over and that nothing holds; returns whether there was any. */
  expire(nowMs: number, isHeld: (id: NetnsId) => boolean = () => false): boolean {
    const before = this.#dead.size;
    for (const [id, { untilMs }] of this.#dead) if (untilMs <= nowMs && !isHeld(id)) this.#dead.delete(id);
    return this.#dead.size < before;
  }

  #fit(dead: readonly RetiredEntity[], max: number): void {
    if (dead.length <= max) return;
    for (const { entity } of rankRetired(dead).slice(max)) {
      this.#dead.delete(entity.netns);
      this.#dropped++;
    }
  }
}
