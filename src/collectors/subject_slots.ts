import type { NetnsId } from '#core/netns.ts';
import type { EntityTable } from './entities.ts';

/** Returned instead of a slot: the sample is dropped. */
export const NOBODY = -1;
/** Returned instead of a slot: the sample is dropped and counted as unknown. */
export const UNKNOWN = -2;

const SLOTS_FIRST = 16;

/** Slots of the subjects of columns. They are looked up once for all columns of a collection with the same subjects. */
export class SubjectSlots {
  readonly #entities: EntityTable;
  #slotOf: (subject: NetnsId) => number = () => NOBODY;
  #subjects: readonly NetnsId[] | undefined;
  #slots = new Int32Array(SLOTS_FIRST);
  #version = -1;

  constructor(entities: EntityTable) {
    this.#entities = entities;
  }

  /** Begins a collection. A list of subjects may have changed since the last one. */
  begin(slotOf: (subject: NetnsId) => number): void {
    this.#slotOf = slotOf;
    this.#subjects = undefined;
  }

  /**
   * Returns for each subject its slot, {@link NOBODY} or {@link UNKNOWN}. The array may be longer than the subjects, and is valid
   * until the event loop turns.
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
