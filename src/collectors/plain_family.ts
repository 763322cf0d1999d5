import type { MetricDescriptor } from '#probe/metric.ts';
import { Births, type CountsFromZero, type ScraperView } from './births.ts';
import type { Family, PutColumn, VisitSample } from './family.ts';
import type { SampleValue } from './sample.ts';

/**
 * A metric without labels. Each entity has one number, in arrays that are indexed by slot, so that adding samples
 * allocates no memory.
 */
export class PlainFamily implements Family {
  readonly descriptor: MetricDescriptor;
  readonly kind = 'plain';
  #cycle = 0;
  #shown = -1;
  #count = 0;
  #cycles = new Uint32Array(16);
  #values = new Float64Array(16);
  /** Integers that a double cannot represent exactly, by slot. */
  readonly #wide = new Map<number, bigint>();
  #committed = 0;
  /** Slots of retired entities, each with the first cycle whose value counts as a last value. */
  readonly #retired = new Map<number, number>();
  readonly #fromZero: CountsFromZero;
  /** Slots that had no value before this cycle. */
  readonly #fresh = new Set<number>();
  readonly #births = new Births<number>();
  readonly #put = (slot: number, value: SampleValue): void => this.put(slot, value);

  constructor(descriptor: MetricDescriptor, fromZero: CountsFromZero) {
    this.descriptor = descriptor;
    this.#fromZero = fromZero;
  }

  get isShown(): boolean {
    return this.#shown === this.#cycle;
  }

  get series(): number {
    return this.isShown ? this.#count : 0;
  }

  begin(): void {
    this.#cycle++;
    this.#count = 0;
    if (this.#wide.size === 0) return;
    for (const slot of this.#wide.keys()) if (!this.#retired.has(slot)) this.#wide.delete(slot);
  }

  put(slot: number, value: SampleValue): void {
    if (slot >= this.#cycles.length) this.#grow(slot);
    if (this.#cycles[slot] !== this.#cycle) this.#count++;
    if (this.#cycles[slot] === 0 && this.descriptor.type !== 'gauge') this.#fresh.add(slot);
    this.#cycles[slot] = this.#cycle;
    if (typeof value === 'bigint') {
      this.#wide.set(slot, value);
    } else {
      this.#values[slot] = value as number;
      if (this.#wide.size > 0) this.#wide.delete(slot);
    }
  }

  column(): PutColumn {
    return this.#put;
  }

  commit(nowMs: number): void {
    this.#shown = this.#cycle;
    this.#committed = this.#cycle;
    this.#births.commit(nowMs);
    for (const slot of this.#fresh) {
      if (this.#cycles[slot] !== this.#cycle) continue;
      this.#fresh.delete(slot);
      if (this.#fromZero(slot)) this.#births.add(slot, nowMs);
    }
    for (const [slot, sinceCycle] of this.#retired) {
      if (!this.#cycles[slot] || this.#cycles[slot] < sinceCycle) continue;
      if (this.#cycles[slot] !== this.#cycle) this.#count++;
      this.#cycles[slot] = this.#cycle;
    }
  }

  clear(): void {
    this.#shown = -1;
    this.#births.away();
  }

  stop(): void {
    this.clear();
    this.#committed = ++this.#cycle;
  }

  retire(slot: number): void {
    this.#retired.set(slot, this.#committed);
  }

  forget(slot: number): void {
    if (slot < this.#cycles.length) this.#cycles[slot] = 0;
    this.#wide.delete(slot);
    this.#retired.delete(slot);
    this.#fresh.delete(slot);
    this.#births.delete(slot);
  }

  renamed(slot: number, nowMs: number): void {
    this.#births.holdAnew(slot, nowMs);
  }

  fold(): number {
    return 0;
  }

  visit(visit: VisitSample, view?: ScraperView): void {
    if (!this.isShown) return;
    const cycles = this.#cycles;
    for (let slot = 0; slot < cycles.length; slot++) {
      if (cycles[slot] !== this.#cycle) continue;
      const number = this.#values[slot] as number;
      const value = this.#wide.size === 0 ? number : (this.#wide.get(slot) ?? number);
      visit(slot, undefined, this.#births.isAtZero(slot, view) ? 0 : value);
    }
  }

  #grow(slot: number): void {
    const length = Math.max(slot + 1, this.#cycles.length * 2);
    const cycles = new Uint32Array(length);
    cycles.set(this.#cycles);
    this.#cycles = cycles;
    const values = new Float64Array(length);
    values.set(this.#values);
    this.#values = values;
  }
}
