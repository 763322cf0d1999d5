import { growable, reserve } from '#core/growable.ts';
import { UidTable } from '#core/uid_table.ts';

/** Pseudo list number for a UID that no list has contained. */
const IN_NO_LIST = 1;

/** UIDs of the objects that a reflector has reported. Records for each whether the list in progress contains it. */
export class KnownUids {
  readonly #table = new UidTable();
  /** Number of the last list that contained the UID of each index; 0 for an unused index. */
  readonly #lists = growable(Uint32Array);
  #list = IN_NO_LIST + 1;
  #listed = 0;

  get size(): number {
    return this.#table.size;
  }

  /** Number of UIDs in the list in progress. */
  get listed(): number {
    return this.#listed;
  }

  has(uid: string): boolean {
    return this.#table.find(uid) >= 0;
  }

  /** Starts a new list. */
  begin(): void {
    this.#list++;
    this.#listed = 0;
  }

  /** Adds a UID, if it is new. @param isListed whether the list in progress contains the UID */
  add(uid: string, isListed: boolean): void {
    const index = this.#table.add(uid);
    reserve(this.#lists, index + 1);
    const before = this.#lists[index] as number;
    if (isListed && before !== this.#list) this.#listed++;
    this.#lists[index] = isListed ? this.#list : before || IN_NO_LIST;
  }

  /** Returns whether the table contained the UID. */
  delete(uid: string): boolean {
    const index = this.#table.find(uid);
    if (index < 0) return false;
    if (this.#lists[index] === this.#list) this.#listed--;
    this.#lists[index] = 0;
    this.#table.delete(index);
    return true;
  }

  /** Yields the UIDs that the list in progress does not contain. The caller may delete UIDs during the iteration. */
  *unlisted(): Generator<string> {
    for (let index = 0; index < this.#table.end; index++) {
      const list = this.#lists[index];
      if (list !== 0 && list !== this.#list) yield this.#table.uidAt(index);
    }
  }
}
