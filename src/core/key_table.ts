import { randomInt } from 'node:crypto';
import { growable, reserve } from './growable.ts';

/** Number of 32-bit words in a key. */
export const KEY_WORDS = 4;

const SLOTS_MIN = 16;
/** Maximum fraction of the slots that are in use, as a number of eighths. */
const LOAD_EIGHTHS_MAX = 7;
const UINT32_END = 2 ** 32;

/**
 * Assigns indexes to keys of 128 bits. An index stays the same until its key is deleted, and is then reused. An entry
 * takes about 21 bytes, while an entry of a Map with a short string takes 100.
 *
 * The table uses open addressing with linear probing (D. Knuth, The Art of Computer Programming, volume 3, section
 * 6.4). The hash has a random seed, so that a client that selects the keys cannot make them collide.
 */
export class KeyTable {
  /** The key that `find` and `add` use. The caller writes it first. */
  readonly key = new Uint32Array(KEY_WORDS);
  readonly #seed: number;
  /** Keys by index. The first word of an unused entry is the next unused entry. Entries are numbered from 1. */
  readonly #keys = growable(Uint32Array);
  /** Entry of each slot; 0 if there is none. */
  #slots = new Int32Array(SLOTS_MIN);
  #unused = 0;
  #end = 0;
  #size = 0;

  /** @param seed seed of the hash, for tests */
  constructor(seed: number = randomInt(UINT32_END)) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#size;
  }

  /** Exclusive upper bound of all indexes. */
  get end(): number {
    return this.#end;
  }

  /** Returns the index of the key; -1 if it has none. */
  find(): number {
    return this.#entryAt(this.#slotOf(this.key, 0)) - 1;
  }

  /** Returns the index of the key, and assigns one if it has none. */
  add(): number {
    let slot = this.#slotOf(this.key, 0);
    const entry = this.#entryAt(slot);
    if (entry !== 0) return entry - 1;
    if ((this.#size + 1) * 8 > this.#slots.length * LOAD_EIGHTHS_MAX) {
      this.#rehash(this.#slots.length * 2);
      slot = this.#slotOf(this.key, 0);
    }
    const index = this.#take();
    this.#keys.set(this.key, index * KEY_WORDS);
    this.#slots[slot] = index + 1;
    this.#size++;
    return index;
  }

  /** Deletes a key. @param index index of a key that is in the table */
  delete(index: number): void {
    const at = index * KEY_WORDS;
    this.#vacate(this.#slotOf(this.#keys, at));
    this.#keys[at] = this.#unused;
    this.#unused = index + 1;
    this.#size--;
  }

  /** Copies the key with this index into `into`. */
  read(index: number, into: Uint32Array): void {
    into.set(this.#keys.subarray(index * KEY_WORDS, (index + 1) * KEY_WORDS));
  }

  #entryAt(slot: number): number {
    return this.#slots[slot] as number;
  }

  #take(): number {
    if (this.#unused !== 0) {
      const index = this.#unused - 1;
      this.#unused = this.#keys[index * KEY_WORDS] as number;
      return index;
    }
    reserve(this.#keys, (this.#end + 1) * KEY_WORDS);
    return this.#end++;
  }

  /** Returns the slot of a key, or the empty slot where the key belongs. */
  #slotOf(words: Uint32Array, at: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(words, at) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#entryAt(slot);
      if (entry === 0 || this.#isEqual(words, at, (entry - 1) * KEY_WORDS)) return slot;
    }
  }

  #isEqual(words: Uint32Array, at: number, own: number): boolean {
    for (let word = 0; word < KEY_WORDS; word++) if (words[at + word] !== this.#keys[own + word]) return false;
    return true;
  }

  /** Empties a slot, and moves later entries of the same run so that no search ends too early. */
  #vacate(emptied: number): void {
    const mask = this.#slots.length - 1;
    let hole = emptied;
    for (let slot = (hole + 1) & mask; this.#entryAt(slot) !== 0; slot = (slot + 1) & mask) {
      const entry = this.#entryAt(slot);
      const ideal = this.#hash(this.#keys, (entry - 1) * KEY_WORDS) & mask;
      // The entry may move to the hole unless its ideal slot lies after the hole.
      if (((slot - ideal) & mask) < ((slot - hole) & mask)) continue;
      this.#slots[hole] = entry;
      hole = slot;
    }
    this.#slots[hole] = 0;
  }

  #rehash(length: number): void {
    const before = this.#slots;
    this.#slots = new Int32Array(length);
    const mask = length - 1;
    for (const entry of before) {
      if (entry === 0) continue;
      let slot = this.#hash(this.#keys, (entry - 1) * KEY_WORDS) & mask;
      while (this.#entryAt(slot) !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = entry;
    }
  }

  /** Mixes the words like MurmurHash3 (A. Appleby, public domain). */
  #hash(words: Uint32Array, at: number): number {
    let hash = this.#seed;
    for (let word = 0; word < KEY_WORDS; word++) {
      const mixed = Math.imul(words[at + word] as number, 0xcc9e2d51);
      hash ^= Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}
