import type { NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { ownerKey } from './shared_room.ts';

/**
 * What the last values of a dead entity tell: packets or connections that it lost, other trouble such as resets, or nothing of
 * either; `unknown` until they have been collected.
 */
export type LastWords = 'loss' | 'trouble' | 'unknown' | 'nothing';

/** In this order the dead go before each other. */
const RANK: Readonly<Record<LastWords, number>> = { loss: 0, trouble: 1, unknown: 2, nothing: 3 };

/** Shown in any case, however few live. */
export const RETIRED_MIN = 16;

export interface RetiredEntity {
  readonly entity: Entity;
  readonly untilMs: number;
  readonly words: LastWords;
}

export interface Choice {
  /** How many stay of those whose last values are known. */
  readonly max: number;
  /** Whether those that are no Pod's stay only where they have lost something. */
  readonly hasPods: boolean;
  /** What the last values of an entity tell; undefined where they have not been collected since its death. */
  readonly words: (id: NetnsId) => LastWords | undefined;
}

/**
 * How many dead entities take so large a share of all that are shown.
 * @param living entities that are shown and live
 */
export function retiredMax(living: number, share: number): number {
  return share < 1 ? Math.max(RETIRED_MIN, Math.floor((living * share) / (1 - share))) : Number.POSITIVE_INFINITY;
}

/**
 * The order in which the dead are shown: of each owner one first, since one Pod may make many namespaces; among those who has
 * lost something, then who has other trouble, then the youngest.
 * @param dead in the order of their deaths
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

  /** @param max that are kept, also before it is known what they tell */
  constructor(max: number) {
    this.#max = max;
  }

  get entities(): Entity[] {
    return [...this.#dead.values()].map(({ entity }) => entity);
  }

  get size(): number {
    return this.#dead.size;
  }

  /** Those of which it is not known yet what they tell. */
  get unknown(): number {
    return [...this.#dead.values()].filter(({ words }) => words === 'unknown').length;
  }

  /** Entities that had to go before their time, because too many died. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Entities that went at once: no Pod's, on a node that has Pods, and without loss. */
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
   * Lets go of all but those that are worth their place on the page, of which the last values have been collected.
   * @returns whether any had to go
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
    // Those that died after the collection began are judged by the next one.
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

  /** Lets go of those whose time is over and that nothing holds; returns whether there was any. */
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
