import type { NetnsId } from '#core/netns.ts';
import type { OwnerSlots } from '#probe/owners.ts';

const SWEEP_EVERY_MS = 5_000;
/** Milliseconds between two sweeps if no namespace has died. */
const SWEEP_ANYWAY_MS = 60_000;
/** Number of sweeps after a death. A namespace counts as dead only when it is missing from two consecutive listings. */
const SWEEPS_AFTER_DEATH = 2;

export type Sweeper = (isDead: (id: NetnsId) => boolean) => void;

/** Makes the sweepers remove data of namespaces that are missing from two consecutive listings. */
export class Sweeps {
  readonly #sweepers = new Set<Sweeper>();
  #owners: Pick<OwnerSlots, 'sweep'> | undefined;
  #live: ReadonlySet<NetnsId> = new Set();
  #liveBefore: ReadonlySet<NetnsId> = new Set();
  /** When the live namespaces were last listed. */
  #listedMs = Number.NEGATIVE_INFINITY;
  /** When the sweepers were last called. */
  #sweptMs = Number.NEGATIVE_INFINITY;
  #due = 0;

  add(sweep: Sweeper): Disposable {
    this.#sweepers.add(sweep);
    return { [Symbol.dispose]: () => void this.#sweepers.delete(sweep) };
  }

  /** Sets the owners whose slots are freed after each sweep. */
  holdOwners(owners: Pick<OwnerSlots, 'sweep'>): void {
    this.#owners = owners;
  }

  /** Must be called after the death of a namespace. The namespace may never have appeared in a listing. */
  hasDied(): void {
    this.#due = SWEEPS_AFTER_DEATH;
  }

  /** Whether enough time has passed since the last listing for another one. */
  isDue(nowMs: number): boolean {
    return nowMs - this.#listedMs >= SWEEP_EVERY_MS;
  }

  /**
   * Calls the sweepers if a namespace has died since their last calls; otherwise, calls them once a minute.
   * @param live namespaces that are alive
   * @param isShown returns whether a dead namespace is still shown
   * @throws the first error of a sweeper, after all of them have been called
   */
  sweep(live: ReadonlySet<NetnsId>, isShown: (id: NetnsId) => boolean, nowMs: number): void {
    this.#listedMs = nowMs;
    this.#liveBefore = this.#live;
    this.#live = live;
    for (const id of this.#liveBefore) if (!live.has(id)) this.hasDied();
    if (this.#due === 0 && nowMs - this.#sweptMs < SWEEP_ANYWAY_MS) return;
    this.#due = Math.max(0, this.#due - 1);
    this.#sweptMs = nowMs;
    const isDead = (id: NetnsId) => !this.#live.has(id) && !this.#liveBefore.has(id) && !isShown(id);
    const freeSlots: Sweeper = (isGone) => this.#owners?.sweep(isGone);
    const errors: unknown[] = [];
    for (const sweep of [...this.#sweepers, freeSlots]) {
      try {
        sweep(isDead);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
