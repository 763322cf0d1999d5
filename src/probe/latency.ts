import type { BpfObject } from 'bpf-napi';
import { type CommonLayout, histogram as struct } from '#bpf/generated/common.ts';
import type { ObjectLayout } from '#bpf/layout.ts';
import { readCounter } from '#core/counter.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { Sources } from '#sources/sources.ts';
import type { ProbeScope, ProbeSettings, RunningProbe } from './contract.ts';
import { type EbpfOptions, openTally } from './ebpf.ts';
import { HISTOGRAMS, type HistogramMap, Histograms, histogramValue, isEmpty, shownBuckets } from './histogram.ts';
import { type BucketRange, type LooseEmit, type MetricSet, NO_LABELS } from './metric.ts';
import { NAMESPACES_MAX } from './room.ts';

/**
 * Limits for a preallocated map with one row per namespace: maximum size in bytes, and minimum and maximum number of
 * rows.
 */
const PREALLOCATED_BYTES = 32 * 1024 * 1024;
const PREALLOCATED_MIN = 256;
const PREALLOCATED_MAX = 4_096;

/** Returns the number of rows of a preallocated map. @param histograms number of histograms per row */
function preallocatedRoom(histograms: number): number {
  const bytes = histograms * struct.SIZE;
  return Math.min(PREALLOCATED_MAX, Math.max(PREALLOCATED_MIN, Math.floor(PREALLOCATED_BYTES / bytes)));
}

/** Options of every probe that measures latencies. */
export interface LatencyOptions {
  /** Latency in nanoseconds above which there is an event. */
  readonly threshold: number;
  readonly buckets: { readonly from: number; readonly to: number };
}

/** Settings that every such probe applies while it runs. */
export const LATENCY_SETTINGS = ['limit', 'threshold', 'buckets'] as const;

export interface OpenLatencies<Key> {
  readonly histograms: Histograms<Key>;
  /** Returns the buckets to show. */
  readonly shown: () => BucketRange;
  /** Status of the running probe, which applies {@link LATENCY_SETTINGS}. The probe adds `collect`. */
  readonly running: Omit<RunningProbe<MetricSet, LatencyOptions>, 'collect'>;
}

/**
 * Opens a probe that stores histograms in a BPF map. The histograms continue those of the previous run.
 * @param each number of histograms per map value
 * @throws {Unsupported}
 */
export async function openLatencies<L extends ObjectLayout, Key>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<LatencyOptions>,
  options: EbpfOptions<L>,
  map: HistogramMap<Key, L['map']>,
  each: number,
): Promise<OpenLatencies<Key>> {
  const histogramsOf = (object: BpfObject) =>
    new Histograms(object, map, each, scope.owners, scope.retained(HISTOGRAMS));
  const instance = await openTally(scope, sources, settings, options, histogramsOf);
  const running = instance.running();
  let shown = shownBuckets(settings.options.buckets);
  return {
    histograms: instance.tally,
    shown: () => shown,
    running: {
      ...running,
      apply: (changed) => {
        instance.set<CommonLayout>({ threshold: changed.options.threshold });
        shown = shownBuckets(changed.options.buckets);
        return running.apply(changed);
      },
    },
  };
}

/** Metric and labels of one histogram within a map value. */
export interface NetnsLatency<M extends MetricSet> {
  readonly metric: keyof M & string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Returns the kinds of histograms in the order of the struct's members. */
export function inOrderOf<Part extends string, const Kinds extends Readonly<Record<Part, unknown>>>(
  { offsets }: { readonly offsets: Readonly<Record<Part, number>> },
  kinds: Kinds,
): Kinds[Part][] {
  const parts = Object.keys(offsets) as Part[];
  return parts.sort((a, b) => offsets[a] - offsets[b]).map((part) => kinds[part]);
}

/**
 * Opens a probe whose metrics are histograms by namespace.
 * @param map map whose keys are namespace cookies, and whose values contain the histograms of `kinds` in that order
 * @throws {Unsupported}
 */
export async function openNetnsLatencies<L extends ObjectLayout, M extends MetricSet>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<LatencyOptions>,
  options: EbpfOptions<L>,
  map: L['map'],
  kinds: readonly NetnsLatency<M>[],
): Promise<RunningProbe<M, LatencyOptions>> {
  const room = {
    map,
    rows: NAMESPACES_MAX,
    preallocated: preallocatedRoom(kinds.length),
    rests: 1,
  };
  const { histograms, running, shown } = await openLatencies<L, NetnsId>(
    scope,
    sources,
    settings,
    { ...options, room },
    { name: map, decodeKey: (view, at) => asNetnsId(readCounter(view, at)), isByNetns: true },
    kinds.length,
  );
  return {
    ...running,
    collect: async (emit) => {
      for (const { key, histograms: all } of histograms.rows()) {
        for (const [index, histogram] of all.entries()) {
          const kind = kinds[index];
          if (kind === undefined || isEmpty(histogram)) continue;
          (emit as LooseEmit)(kind.metric, key, histogramValue(histogram, shown()), kind.labels ?? NO_LABELS);
        }
      }
    },
  };
}
