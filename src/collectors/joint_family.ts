import type { MetricDescriptor } from '#probe/metric.ts';
import type { ScraperView } from './births.ts';
import type { Edges } from './edges.ts';
import { type Family, type PutColumn, seriesPerRow, type VisitSample } from './family.ts';

/** A metric that shares a joint bound with other metrics. All of these metrics show the same edges. */
export class JointFamily implements Family {
  readonly descriptor: MetricDescriptor;
  readonly kind = 'edges';
  readonly #key: string;
  readonly #edges: Edges;
  isShown = false;

  constructor(key: string, descriptor: MetricDescriptor, edges: Edges) {
    this.#key = key;
    this.descriptor = descriptor;
    this.#edges = edges;
  }

  get series(): number {
    return this.isShown ? this.#edges.rowsOf(this.#key) * seriesPerRow(this.descriptor) : 0;
  }

  begin(): void {
    this.isShown = false;
  }

  put(): never {
    throw new Error(`${this.descriptor.name} shares a bound with other metrics, so its samples must be added as rows`);
  }

  column(): PutColumn {
    return this.put();
  }

  commit(): void {
    this.isShown = true;
  }

  clear(): void {
    this.isShown = false;
    this.#edges.clear();
  }

  stop(): void {
    this.clear();
  }

  retire(slot: number): void {
    this.#edges.retire(slot);
  }

  forget(slot: number): void {
    this.#edges.forget(slot);
  }

  renamed(slot: number, nowMs: number): void {
    this.#edges.renamed(slot, nowMs);
  }

  fold(level: number): number {
    return this.#edges.fold(level);
  }

  visit(visit: VisitSample, view?: ScraperView): void {
    if (this.isShown) this.#edges.visit(this.#key, visit, view);
  }
}
