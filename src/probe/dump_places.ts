import type { MapDump } from 'bpf-napi';
import { flowKey } from '#bpf/generated/common.ts';
import type { FlowRow } from './flow_row.ts';

const KEY_WORDS = flowKey.SIZE / 4;

/**
 * The rows of the last dump, in the order of the dump. A hash map keeps its order while no entry is created or deleted,
 * so most rows of the next dump can be found without looking up their keys.
 */
export class DumpPlaces {
  /** The last dump. Its memory is overwritten by the next dump. */
  #dump: MapDump | undefined;
  /** Keys of the last dump. */
  #keys: Uint32Array = new Uint32Array();
  /** Rows of the last dump. */
  #rows: (FlowRow | undefined)[] = [];
  /** Rows of the dump that is being read. */
  #reading: (FlowRow | undefined)[] = [];
  #words: Uint32Array = new Uint32Array();
  /** Index in the last dump at which the next row is expected. */
  #expected = 0;

  isOf(dump: MapDump): boolean {
    return this.#dump === dump;
  }

  at(index: number): FlowRow | undefined {
    const row = this.#rows[index];
    return row?.isLast === true ? undefined : row;
  }

  begin({ view, count }: MapDump): void {
    this.#words = new Uint32Array(view.buffer, view.byteOffset, count * KEY_WORDS);
    this.#reading.length = 0;
    this.#expected = 0;
  }

  /** Returns the expected next row if its key is at this index of the dump that is being read. */
  next(index: number): FlowRow | undefined {
    while (this.#expected < this.#rows.length && this.at(this.#expected) === undefined) this.#expected++;
    const row = this.#rows[this.#expected];
    if (row === undefined) return undefined;
    const [key, expected] = [index * KEY_WORDS, this.#expected * KEY_WORDS];
    for (let word = 0; word < KEY_WORDS; word++)
      if (this.#words[key + word] !== this.#keys[expected + word]) return undefined;
    this.#expected++;
    return row;
  }

  /** Sets the expected position to the one after a row that was found by its key. Returns the row. */
  moved(row: FlowRow | undefined): FlowRow | undefined {
    if (row !== undefined && this.#rows[row.at] === row) this.#expected = row.at + 1;
    return row;
  }

  set(index: number, row: FlowRow | undefined): void {
    this.#reading[index] = row;
    if (row !== undefined) row.at = index;
  }

  end(dump: MapDump): void {
    const words = this.#words.length;
    if (this.#keys.length < words) this.#keys = new Uint32Array(words);
    this.#keys.set(this.#words);
    this.#words = new Uint32Array();
    [this.#rows, this.#reading] = [this.#reading, this.#rows];
    this.#dump = dump;
  }

  replace(row: FlowRow, next: FlowRow): void {
    if (this.#rows[row.at] !== row) return;
    this.#rows[row.at] = next;
    next.at = row.at;
  }
}
