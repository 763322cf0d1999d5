import type { NetnsId } from '#core/netns.ts';
import type { EntityTable } from './entities.ts';

/** In place of a slot: the sample is left out … */
export const NOBODY = -1;
/** … and counted. */
export const UNKNOWN = -2;

/** The slots of the subjects of columns, of one collection: looked up once for all columns of the same subjects. */
export class SubjectSlots {
  readonly #entities: EntityTable;
  readonly #slotOf: (subject: NetnsId) => number;
  #subjects: readonly NetnsId[] = [];
  #slots: Int32Array = new Int32Array(0);
  #version = -1;

  constructor(entities: EntityTable, slotOf: (subject: NetnsId) => number) {
    this.#entities = entities;
    this.#slotOf = slotOf;
  }

  /** By index of the subject: its slot, {@link NOBODY} or {@link UNKNOWN}. Valid until the event loop turns. */
  of(subjects: readonly NetnsId[]): Int32Array {
    const { version } = this.#entities;
    if (subjects === this.#subjects && version === this.#version) return this.#slots;
    this.#subjects = subjects;
    this.#version = version;
    this.#slots = Int32Array.from(subjects, this.#slotOf);
    return this.#slots;
  }
}
