import type { SampleValue } from './sample.ts';

const ROWS_FIRST = 16;

/**
 * The rows of a metric as a structure of arrays. A row keeps its number while it exists. After that, the number is
 * reused.
 */
export class Rows {
  /** Slots of the entities, by row. */
  slots = new Int32Array(ROWS_FIRST);
  /** For each row, the last cycle that contained it. */
  cycles = new Int32Array(ROWS_FIRST);
  readonly #keys: string[] = [];
  readonly #labels: Uint8Array[] = [];
  readonly #keeps: boolean[] = [];
  #numbers = new Float64Array(ROWS_FIRST);
  /** Values that are bigints or histograms, by row number. */
  readonly #others = new Map<number, Exclude<SampleValue, number>>();
  readonly #free: number[] = [];
  #end = 0;

  /**
   * Creates a row without a value.
   * @param key key of the labels
   * @param labels rendered labels
   */
  take(slot: number, key: string, labels: Uint8Array): number {
    const row = this.#free.pop() ?? this.#end++;
    if (row >= this.slots.length) this.#grow(this.slots.length * 2);
    this.slots[row] = slot;
    this.cycles[row] = NEVER;
    this.#keys[row] = key;
    this.#labels[row] = labels;
    return row;
  }

  release(row: number): void {
    this.slots[row] = NOBODYS;
    this.#others.delete(row);
    this.#free.push(row);
  }

  /** Whether a row number still belongs to these labels in this slot. */
  is(row: number, slot: number, key: string): boolean {
    return this.slots[row] === slot && this.#keys[row] === key;
  }

  value(row: number): SampleValue {
    const number = this.#numbers[row] as number;
    return this.#others.size === 0 ? number : (this.#others.get(row) ?? number);
  }

  /**
   * Sets the value of a row.
   * @param keep whether the row must not be collapsed
   */
  set(row: number, value: SampleValue, keep: boolean): void {
    this.#keeps[row] = keep;
    if (typeof value === 'number') {
      this.#numbers[row] = value;
      if (this.#others.size > 0) this.#others.delete(row);
    } else {
      this.#others.set(row, value);
    }
  }

  keep(row: number): boolean {
    return this.#keeps[row] === true;
  }

  labels(row: number): Uint8Array {
    return this.#labels[row] as Uint8Array;
  }

  #grow(length: number): void {
    const slots = new Int32Array(length);
    slots.set(this.slots);
    this.slots = slots;
    const cycles = new Int32Array(length);
    cycles.set(this.cycles);
    this.cycles = cycles;
    const numbers = new Float64Array(length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }
}

const NEVER = -1;
const NOBODYS = -1;
