import { expect } from 'vitest';
import { Edges } from '#collectors/edges.ts';
import type { SampleValue } from '#collectors/sample.ts';
import { addCounters, type Counter } from '#core/counter.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineMetrics, type LooseRowReader, NO_LABELS } from '#probe/metric.ts';

export const BOUND = { max: { core: 3, full: 5 }, rank: ['bytes'] } as const;
export const PORTS_MAX = 2;
const base = { help: 'Test.', source: 'test', scope: 'pod', detail: 'core' } as const;
export const joint = {
  peer: { help: 'Peer.', example: 'web', joint: BOUND },
  port: { help: 'Port.', example: '80', joint: BOUND, max: PORTS_MAX },
} as const;
export const metrics = defineMetrics({
  bytes: { ...base, type: 'counter', name: 'netsonde_x_bytes_total', labels: joint },
  failed: {
    ...base,
    type: 'counter',
    name: 'netsonde_x_failed_total',
    labels: { cause: { help: 'Cause.', values: ['refused', 'timeout'] }, ...joint },
  },
  open: { ...base, type: 'gauge', name: 'netsonde_x_open', labels: joint },
  delay: { ...base, type: 'histogram', name: 'netsonde_x_delay', labels: joint, buckets: [1, 2] },
});
export const SLOT = 0;
export const EMPTY_DELAY = { counts: [0, 0, 0], sum: 0 };

/** A row in the form in which a source returns it. */
export interface Given {
  readonly key: string;
  readonly labels: { readonly peer: string; readonly port: string };
  readonly bytes: Counter;
  readonly failed?: number;
  readonly open?: number;
  readonly delay?: { readonly counts: readonly number[]; readonly sum: number };
  readonly isLast?: boolean;
}

export interface Bounds {
  readonly max?: number | undefined;
  readonly labelMax?: number | undefined;
}

export function readerOf(bounds: Bounds): LooseRowReader<Given> {
  return {
    ...bounds,
    subject: () => asNetnsId(1),
    key: ({ key }) => key,
    labels: ({ labels }) => labels,
    isLast: ({ isLast = false }) => isLast,
    samples: ({ bytes, failed, open = 0, delay = EMPTY_DELAY }, put) => {
      put('bytes', bytes, NO_LABELS);
      if (failed !== undefined) put('failed', failed, { cause: 'timeout' });
      put('open', open, NO_LABELS);
      put('delay', delay, NO_LABELS);
    },
  };
}

export type Page = ReadonlyMap<string, SampleValue>;

/** An implementation of the joint limit: the real one, or one with a known bug. */
export interface Subject {
  collect(rows: readonly Given[], bounds: Bounds, nowMs: number, commit: boolean): void;
  fold(level: number): void;
  /** Returns the samples of a metric by label text. */
  page(metric: string): Page;
}

export class Ours implements Subject {
  readonly edges = new Edges(metrics, BOUND, () => true);

  collect(rows: readonly Given[], bounds: Bounds, nowMs: number, commit = true): void {
    this.edges.begin();
    this.take(rows, readerOf(bounds));
    if (commit) this.edges.commit(nowMs);
  }

  protected take(rows: readonly Given[], reader: LooseRowReader<Given>): void {
    this.edges.take(rows, reader, () => SLOT);
  }

  fold(level: number): void {
    this.edges.fold(level);
  }

  page(metric: string): Page {
    const page = new Map<string, SampleValue>();
    this.edges.visit(metric, (_, labels, value) => {
      const key = Buffer.from(labels ?? []).toString();
      expect(page.has(key), `${key} twice`).toBe(false);
      page.set(key, value);
    });
    return page;
  }
}

/** Reports which rows have not changed, and returns the same label objects again. */
export class OursWithVersions extends Ours {
  readonly #labels = new Map<string, Given['labels']>();
  readonly #versions = new Map<string, { readonly samples: string; readonly version: number }>();
  #version = 0;
  /** Number of rows whose samples were not read. */
  unread = 0;

  protected override take(rows: readonly Given[], reader: LooseRowReader<Given>): void {
    let read = 0;
    super.take(rows, {
      ...reader,
      labels: ({ labels }) => this.#interned(labels),
      version: (row) => this.#versionOf(row),
      samples: (row, put) => {
        read++;
        reader.samples(row, put);
      },
    });
    this.unread += rows.length - read;
  }

  #interned(labels: Given['labels']): Given['labels'] {
    const text = JSON.stringify(labels);
    const known = this.#labels.get(text) ?? labels;
    this.#labels.set(text, known);
    return known;
  }

  #versionOf({ key, bytes, failed, open, delay }: Given): number {
    const samples = JSON.stringify([String(bytes), failed, open, delay]);
    const known = this.#versions.get(key);
    if (known?.samples === samples) return known.version;
    this.#versions.set(key, { samples, version: ++this.#version });
    return this.#version;
  }
}

export function countOf(value: SampleValue): Counter {
  return typeof value === 'object' ? value.counts.reduce(addCounters, 0) : value;
}

export function sumOf(page: Page): Counter {
  return [...page.values()].map(countOf).reduce<Counter>(addCounters, 0);
}

/** Returns the labels of the shown edges. */
export function shownOf(page: Page): string[] {
  return [...page.keys()].filter((labels) => !labels.includes('peer="*'));
}
