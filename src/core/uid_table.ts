import { hash } from 'node:crypto';
import { KeyTable } from './key_table.ts';

/** A UUID in its canonical form, which is the only form that can be restored from its 128 bits. */
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Positions of the hyphens in the 32 hexadecimal digits of a UUID. */
const HYPHENS = [8, 12, 16, 20];

/** Assigns indexes to UIDs of Kubernetes objects. The API uses UUIDs, each of which takes about 21 bytes. */
export class UidTable {
  readonly #table = new KeyTable();
  /** UIDs that are not UUIDs, by index. Their key is a digest. */
  readonly #others = new Map<number, string>();
  readonly #words = new Uint32Array(4);

  get size(): number {
    return this.#table.size;
  }

  /** Exclusive upper bound of all indexes. */
  get end(): number {
    return this.#table.end;
  }

  /** Returns the index of a UID; -1 if it has none. */
  find(uid: string): number {
    this.#write(uid);
    return this.#table.find();
  }

  /** Returns the index of a UID, and assigns one if it has none. */
  add(uid: string): number {
    const isUuid = this.#write(uid);
    const index = this.#table.add();
    if (!isUuid) this.#others.set(index, uid);
    return index;
  }

  /** @param index index of a UID that is in the table */
  delete(index: number): void {
    this.#table.delete(index);
    this.#others.delete(index);
  }

  /** @param index index of a UID that is in the table */
  uidAt(index: number): string {
    const other = this.#others.get(index);
    if (other !== undefined) return other;
    this.#table.read(index, this.#words);
    const digits = [...this.#words].map((word) => word.toString(16).padStart(8, '0')).join('');
    return [0, ...HYPHENS].map((from, nth) => digits.slice(from, HYPHENS[nth])).join('-');
  }

  /** Writes the key of a UID. Returns whether the UID is a UUID, which can be restored from the key. */
  #write(uid: string): boolean {
    const isUuid = UUID.test(uid);
    const digits = isUuid ? uid.replaceAll('-', '') : hash('sha256', uid, 'hex');
    const { key } = this.#table;
    for (let word = 0; word < key.length; word++) key[word] = Number.parseInt(digits.slice(8 * word, 8 * word + 8), 16);
    return isUuid;
  }
}
