import type { NetnsId } from '#core/netns.ts';
import type { EntityTable } from './entities.ts';

/** Returned instead of a slot if the sample is to be dropped. */
export const NOBODY = -1;
/** Returned instead of a slot if the sample is to be dropped and counted as unattributed. */
export const UNKNOWN = -2;

const SLOTS_FIRST = 16;

/** Looks up the slots of subjects. Columns of a collection that have the same list of subjects share one lookup. */
export class SubjectSlots {
  readonly #entities: EntityTable;
  #slotOf: (subject: NetnsId) => number = () => NOBODY;
  #subjects: readonly NetnsId[] | undefined;
  #slots = new Int32Array(SLOTS_FIRST);
  #version = -1;

  constructor(entities: EntityTable) {
    this.#entities = entities;
  }

  /**
   * Starts a collection. Discards the known subjects, because their list may have changed since the last collection.
   */
  begin(slotOf: (subject: NetnsId) => number): void {
    this.#slotOf = slotOf;
    this.#subjects = undefined;
  }

  /**
   * Returns the slot of each subject, or {@link NOBODY} or {@link UNKNOWN}. The array may be longer than the list of
   * subjects, and is valid until the next turn of the event loop.
   */
  of(subjects: readonly NetnsId[]): Int32Array {
    const { version } = this.#entities;
    if (subjects === this.#subjects && version === this.#version) return this.#slots;
    this.#subjects = subjects;
    this.#version = version;
    if (subjects.length > this.#slots.length) this.#slots = new Int32Array(subjects.length * 2);
    for (let index = 0; index < subjects.length; index++) this.#slots[index] = this.#slotOf(subjects[index] as NetnsId);
    return this.#slots;
  }
}
