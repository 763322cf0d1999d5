import type { Btf } from '../sources/bpf/btf.ts';
import type { Sources } from '../sources/sources.ts';
import { type EbpfInstance, type EbpfOptions, openEbpf } from './ebpf.ts';
import { type HistogramMap, Histograms } from './histogram.ts';
import type { MetricSet } from './metric.ts';
import { type ProbeScope, type ProbeSettings, type RunningProbe, Unsupported } from './probe.ts';

/** A tracepoint, and the program for it. */
export interface Tracepoint {
  readonly name: string;
  /** The program reads so many arguments; the tracepoint must have at least these. */
  readonly arguments: number;
  readonly program: string;
}

/** Why this kernel does not have the tracepoint; undefined where it does. */
export function missingTracepoint(btf: Btf, { name, arguments: wanted }: Tracepoint): string | undefined {
  const has = btf.tracepointArguments(name);
  if (has === undefined) return `this kernel has no tracepoint ${name} in its BTF`;
  return has < wanted ? `the tracepoint ${name} of this kernel has ${has} arguments, not ${wanted}` : undefined;
}

/** @throws {Unsupported} where the kernel lacks one */
export function requireTracepoints(btf: Btf, tracepoints: readonly Tracepoint[]): string[] {
  const missing = tracepoints
    .map((tracepoint) => missingTracepoint(btf, tracepoint))
    .find((text) => text !== undefined);
  if (missing !== undefined) throw new Unsupported(missing);
  return tracepoints.map(({ program }) => program);
}

/** Room for the namespaces that there are, and as many again, within reason. */
export function namespaceRoom({ netns }: Sources): number {
  return Math.min(ROOM_MAX, ROOM_MIN + 2 * netns.snapshot().length);
}

const ROOM_MIN = 64;
const ROOM_MAX = 4_096;

export interface OpenLatencies<Key> {
  readonly histograms: Histograms<Key>;
  /** What a running probe has to say of itself, but for its own metrics. */
  readonly running: Omit<RunningProbe<MetricSet>, 'collect'>;
}

/**
 * Opens a probe that keeps histograms in the kernel; they go on where an earlier run ended.
 * @param each how many histograms a value of the map has
 * @param degraded what does not run on this kernel, and why
 * @throws {Unsupported}
 */
export async function openLatencies<Constant extends string, Key>(
  scope: ProbeScope<Record<string, never>>,
  sources: Sources,
  settings: ProbeSettings<unknown>,
  options: EbpfOptions<Constant>,
  map: HistogramMap<Key>,
  each: number,
  degraded: readonly string[] = [],
): Promise<OpenLatencies<Key>> {
  const { memories, netns, paths } = sources;
  const histogramsOf = ({ object }: EbpfInstance) =>
    new Histograms(object, map, each, memories.of(`histograms/${options.probe}`));
  const instance = await openEbpf(scope, sources, settings, options, (closing) => histogramsOf(closing).remember());
  const histograms = histogramsOf(instance);
  scope.own(netns.onSweep((isDead) => histograms.sweep(isDead)));
  const reader = [...new Set(instance.programs().map(({ hook }) => hook))].join(', ');
  return {
    histograms,
    running: {
      health: () => ({ reader, degraded }),
      programs: () => instance.programs(),
      mapBytes: () => instance.mapBytes(paths.proc),
      ledger: () => instance.ledger(),
      uncounted: () => histograms.uncounted(),
    },
  };
}
