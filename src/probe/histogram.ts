import type { BpfObject } from 'bpf-napi';
import * as z from 'zod';
import { histogram, ownerSlot } from '#bpf/generated/common.ts';
import { addCounters, type Counter, readCounter, toCounter } from '#core/counter.ts';
import { duration } from '#core/duration.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import type { BucketRange, HistogramValue } from './metric.ts';
import type { Owners } from './owners.ts';
import { defineRetained, type Retained } from './retained.ts';
import type { Uncounted } from './status.ts';
import { readMisses, slotOfRest, sweepMap, type Tally } from './tally.ts';

const NANOSECONDS = 1e-9;
const MICROSECOND_NS = 1_000;

/** Upper bounds of the buckets in seconds. In the kernel, the upper bound of bucket i is 2^i microseconds. */
const BUCKETS: readonly number[] = Array.from({ length: histogram.countsCount - 1 }, (_, index) => 2 ** index / 1e6);

/** Properties that all latency descriptors share. The configuration determines which buckets are shown. */
export const LATENCY = { type: 'histogram', unit: 'seconds', buckets: BUCKETS } as const;

/** Returns the option that determines which buckets are shown. Its defaults are `from` and `to`. */
export function bucketsOption(from: string, to: string) {
  return z
    .strictObject({ from: duration(from), to: duration(to) })
    .refine((range) => range.from < range.to, 'from must be shorter than to')
    .prefault({})
    .describe('Range of the histogram buckets, whose bounds double from 1us to 16s.');
}

/** Returns the buckets in a range, including those that contain its two limits. */
export function shownBuckets({ from, to }: { readonly from: number; readonly to: number }): BucketRange {
  const lastOfAll = BUCKETS.length - 1;
  const bucketOf = (nanoseconds: number) => Math.ceil(Math.log2(nanoseconds / MICROSECOND_NS));
  return {
    first: Math.max(0, Math.min(bucketOf(from), lastOfAll)),
    last: Math.max(0, Math.min(bucketOf(to), lastOfAll)),
  };
}

/** Values of a struct histogram, summed over the CPUs. */
export interface Histogram {
  readonly counts: readonly Counter[];
  /** Sum of the durations in nanoseconds; 0 for an empty histogram. */
  readonly sumNs: Counter;
}

export const EMPTY: Histogram = { counts: new Array<Counter>(histogram.countsCount).fill(0), sumNs: 0 };

export function addHistograms(a: Histogram, b: Histogram): Histogram {
  if (b.sumNs === 0) return a;
  return {
    counts: a.counts.map((count, index) => addCounters(count, b.counts[index] ?? 0)),
    sumNs: addCounters(a.sumNs, b.sumNs),
  };
}

function decodeHistogram(view: DataView, at: number): Histogram {
  // This saves time on machines with many CPUs, most of which have counted nothing.
  if (histogram.sum(view, at) === 0) return EMPTY;
  return {
    counts: Array.from({ length: histogram.countsCount }, (_, index) => histogram.counts(view, at, index)),
    sumNs: histogram.sum(view, at),
  };
}

/** Converts a histogram to a sample in seconds. */
export function histogramValue({ counts, sumNs }: Histogram, shown: BucketRange): HistogramValue {
  return { counts, sum: Number(sumNs) * NANOSECONDS, shown };
}

export function isEmpty({ sumNs }: Histogram): boolean {
  return sumNs === 0;
}

export interface HistogramMap<Key, Name extends string = string> {
  /** Name of the map. Each value consists of one or more consecutive structs histogram. */
  readonly name: Name;
  decodeKey(view: DataView, at: number): Key;
  /**
   * Whether the key starts with a namespace cookie. If so, the row is removed when the namespace dies. Otherwise, it
   * belongs to the node.
   */
  readonly isByNetns: boolean;
}

export interface HistogramRow<Key> {
  readonly key: Key;
  readonly histograms: readonly Histogram[];
}

const COOKIE_BYTES = 8;

function readNetns(view: DataView, at: number): NetnsId {
  return asNetnsId(readCounter(view, at));
}

/** Returns bytes as a string with one character per byte. */
function bytesAt(view: DataView, at: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, length).toString('latin1');
}

/** Returns the namespace at the start of a key. */
function netnsOf(bytes: string): NetnsId {
  return asNetnsId(toCounter(Buffer.from(bytes.slice(0, COOKIE_BYTES), 'latin1').readBigUInt64LE()));
}

/** Returns a copy of the key for another namespace. */
function ofNetns(bytes: string, id: NetnsId): string {
  const cookie = Buffer.alloc(COOKIE_BYTES);
  cookie.writeBigUInt64LE(BigInt(id));
  return cookie.toString('latin1') + bytes.slice(COOKIE_BYTES);
}

function sumOf(before: readonly Histogram[] | undefined, now: readonly Histogram[]): readonly Histogram[] {
  return before === undefined ? now : now.map((one, nth) => addHistograms(one, before[nth] ?? EMPTY));
}

interface Totals {
  /** Histograms by key. The key is that of the map, with its bytes converted to the characters of a string. */
  readonly rows: ReadonlyMap<string, readonly Histogram[]>;
  readonly uncounted: Uncounted;
}

/** Counts from earlier runs of the probe. */
export const HISTOGRAMS = defineRetained<Totals>(() => ({ rows: new Map(), uncounted: {} }));

/** Histograms of a BPF probe, which continue across runs of the probe. */
export class Histograms<Key> implements Tally {
  readonly #object: BpfObject;
  readonly #map: HistogramMap<Key>;
  readonly #each: number;
  readonly #owners: Owners;
  readonly #earlier: Retained<Totals>;

  /**
   * @param each number of histograms per map value
   */
  constructor(object: BpfObject, map: HistogramMap<Key>, each: number, owners: Owners, earlier: Retained<Totals>) {
    this.#object = object;
    this.#map = map;
    this.#each = each;
    this.#owners = owners;
    this.#earlier = earlier;
  }

  rows(): HistogramRow<Key>[] {
    return [...this.#rows()].map(([bytes, histograms]) => ({ key: this.#keyOf(bytes), histograms }));
  }

  uncounted(): Uncounted {
    return readMisses(this.#object, this.#earlier.value.uncounted);
  }

  get map(): string {
    return this.#map.name;
  }

  sweep(isDead: (id: NetnsId) => boolean): ReadonlyMap<NetnsId, number> {
    if (!this.#map.isByNetns) return new Map();
    const map = this.#object.map(this.#map.name);
    const { rows, uncounted } = this.#earlier.value;
    const kept = new Map<string, readonly Histogram[]>();
    /** Keeps the counts of a row. For a dead namespace that never had an owner, they are added to the unlisted row. */
    const keep = (bytes: string, histograms: () => readonly Histogram[]) => {
      const id = netnsOf(bytes);
      const isGone = id !== UNLISTED && isDead(id);
      if (isGone && this.#owners.wasOwned(id)) return;
      const key = isGone ? ofNetns(bytes, UNLISTED) : bytes;
      kept.set(key, sumOf(kept.get(key), histograms()));
    };
    for (const [bytes, histograms] of rows) keep(bytes, () => histograms);
    const left = sweepMap(map, isDead, readNetns, (view, keyAt, valueAt) =>
      keep(bytesAt(view, keyAt, map.keyBytes), () => this.#value(view, valueAt, map.valueBytes)),
    );
    this.#earlier.value = { rows: kept, uncounted };
    return left;
  }

  freed(slot: number): void {
    if (!this.#map.isByNetns) return;
    const map = this.#object.map(this.#map.name);
    const { count, view, keyAt } = map.dump();
    for (let index = 0; index < count; index++) {
      const at = keyAt(index);
      if (slotOfRest(readNetns(view, at)) === slot)
        map.delete(new Uint8Array(view.buffer.slice(at, at + map.keyBytes)));
    }
  }

  remember(): void {
    this.#earlier.value = { rows: this.#rows(), uncounted: this.uncounted() };
  }

  #keyOf(bytes: string): Key {
    const buffer = Uint8Array.from(bytes, (character) => character.charCodeAt(0));
    return this.#map.decodeKey(new DataView(buffer.buffer), 0);
  }

  #rows(): Map<string, readonly Histogram[]> {
    const map = this.#object.map(this.#map.name);
    const { count, view, keyAt, valueAt } = map.dump();
    const rows = new Map(this.#earlier.value.rows);
    for (let index = 0; index < count; index++) {
      const bytes = this.#shownKey(bytesAt(view, keyAt(index), map.keyBytes));
      if (bytes !== undefined)
        rows.set(bytes, sumOf(rows.get(bytes), this.#value(view, valueAt(index), map.valueBytes)));
    }
    return rows;
  }

  /**
   * Returns the key under which a row is shown; undefined if the owner no longer exists. A row with the counts for
   * which a slot had no free row is shown under the namespace of the slot's owner.
   */
  #shownKey(bytes: string): string | undefined {
    const slot = this.#map.isByNetns ? slotOfRest(netnsOf(bytes)) : undefined;
    if (slot === undefined) return bytes;
    const id = slot < ownerSlot.first ? UNLISTED : this.#owners.ownerOf(slot)?.home;
    return id === undefined ? undefined : ofNetns(bytes, id);
  }

  /** Decodes a value. The value of a per-CPU map contains a copy for each CPU; the copies are summed. */
  #value(view: DataView, at: number, bytes: number): Histogram[] {
    const stride = this.#each * histogram.SIZE;
    return Array.from({ length: this.#each }, (_, nth) => {
      let sum = decodeHistogram(view, at + nth * histogram.SIZE);
      for (let cpu = stride; cpu < bytes; cpu += stride) {
        sum = addHistograms(sum, decodeHistogram(view, at + cpu + nth * histogram.SIZE));
      }
      return sum;
    });
  }
}
