import type { NetnsId } from '#core/netns.ts';
import type { Entity } from './entity.ts';
import { ownerKey } from './shared_room.ts';

/**
 * Worst kind of trouble in the last values of a dead entity: lost packets or connections, other trouble such as resets,
 * or nothing. `unknown` means that the values have not been collected yet.
 */
export type LastWords = 'loss' | 'trouble' | 'unknown' | 'nothing';

/** Ranks of dead entities. When some have to be dropped, those with the highest ranks are dropped first. */
const RANK: Readonly<Record<LastWords, number>> = { loss: 0, trouble: 1, unknown: 2, nothing: 3 };

/** Number of dead entities that are allowed even if only few entities are alive. */
export const RETIRED_MIN = 16;

export interface RetiredEntity {
  readonly entity: Entity;
  readonly untilMs: number;
  readonly words: LastWords;
}

export interface Choice {
  /** Maximum number of retired entities whose last values are known. */
  readonly max: number;
  /** Whether entities other than Pods are kept only if they lost packets or connections. */
  readonly hasPods: boolean;
  /**
   * Returns how much trouble the last values of an entity show; undefined if they were not collected since its death.
   */
  readonly words: (id: NetnsId) => LastWords | undefined;
}

/**
 * Returns the maximum number of dead entities: a share of all shown entities, but at least {@link RETIRED_MIN}.
 * @param living number of shown live entities
 * @param share fraction between 0 and 1
 */
export function retiredMax(living: number, share: number): number {
  return share < 1 ? Math.max(RETIRED_MIN, Math.floor((living * share) / (1 - share))) : Number.POSITIVE_INFINITY;
}

/**
 * Ranks dead entities. The first entity of each owner comes before the second entity of any owner, because one Pod can
 * create many namespaces. Among the first entities, and likewise among the second ones, losses come first, then other
 * trouble, then the most recent deaths.
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

/** Dead entities whose last values are still shown, in the order of their deaths. */
export class Retired {
  readonly #max: number;
  readonly #dead = new Map<NetnsId, RetiredEntity>();
  #dropped = 0;
  #passedOver = 0;

  /** @param max maximum number of entities, including those whose last values are unknown */
  constructor(max: number) {
    this.#max = max;
  }

  get entities(): Entity[] {
    return [...this.#dead.values()].map(({ entity }) => entity);
  }

  get size(): number {
    return this.#dead.size;
  }

  /** Number of entities whose last values have not been collected yet. */
  get unknown(): number {
    return [...this.#dead.values()].filter(({ words }) => words === 'unknown').length;
  }

  /** Number of entities that were dropped early because too many died. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Number of entities that were dropped early on a node with Pods, because they are not Pods and lost nothing. */
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
   * Drops entities according to {@link Choice}. Entities whose last values are unknown are not dropped yet.
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
    // For an entity that died after the collection started, the decision is made after the next collection.
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

  /** Drops expired entities unless they are held. Returns whether any was dropped. */
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
