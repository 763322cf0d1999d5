import type { ProbeStatus } from '#api/probes.ts';
import { PROBE_STATES } from '#api/words.ts';
import type { NetnsRegistry } from '#pods/registry.ts';
import type { Scanner } from '#pods/scanner.ts';
import { hookKind } from '#probe/hooks.ts';
import { defineMetrics, type Emit, NO_LABELS, NODE } from '#probe/metric.ts';
import type { SourceErrors } from '#sources/errors.ts';
import type { Aggregator } from './aggregate.ts';
import { Histogram } from './histogram.ts';
import type { CollectOutcome } from './scrape.ts';
import type { ActiveProbe } from './supervisor.ts';

/** Name of the pseudo-probe that adds the kernel thread's own metrics to the aggregator. */
export const SELF = 'self';

const PROBE = { help: 'Name of the probe.', example: 'tcp', max: 64 } as const;
const PROBE_OR_DISCOVERY = {
  ...PROBE,
  help: 'Name of the probe; `discovery` finds network namespaces and their owners, and cannot be disabled.',
} as const;
const PROGRAM = { help: 'Name of the BPF program.', example: 'packet_drop', max: 64 } as const;

/** There are few buckets, because every probe on every node exports all of them. The mean is exact regardless. */
const COLLECT_SECONDS = [0.001, 0.01, 0.1, 1] as const;
const SCRAPE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5] as const;

const agent = { scope: 'agent', detail: 'core' } as const;

/** Metrics of the kernel thread. */
export const SELF_METRICS = defineMetrics({
  probeState: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_probe_state',
    help: '1 for the current state of the probe; /api/v1/probes gives the reason.',
    source: 'agent',
    labels: { probe: PROBE_OR_DISCOVERY, state: { help: 'State of the probe.', values: PROBE_STATES } },
  },
  hookInfo: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_probe_hook_info',
    help: 'Kernel hook that a program of the probe is attached to.',
    source: 'agent',
    labels: {
      probe: PROBE_OR_DISCOVERY,
      hook: { help: 'Hook, as named by libbpf.', example: 'tp_btf/kfree_skb', max: 64 },
      kind: { help: 'Kind of the hook.', example: 'tp_btf', max: 16 },
    },
  },
  collectSeconds: {
    ...agent,
    type: 'histogram',
    unit: 'seconds',
    name: 'netsonde_probe_collect_seconds',
    help: 'Time that the probe took to collect its metrics.',
    source: 'agent',
    labels: { probe: PROBE },
    buckets: COLLECT_SECONDS,
  },
  collectFailures: {
    ...agent,
    type: 'counter',
    name: 'netsonde_probe_collect_failures_total',
    help: 'Collections of the probe that failed or took too long; their samples were dropped.',
    source: 'agent',
    labels: { probe: PROBE },
  },
  runSeconds: {
    ...agent,
    type: 'counter',
    unit: 'seconds',
    name: 'netsonde_probe_bpf_run_seconds_total',
    help: 'Time that the BPF program ran since it was loaded; present only while the kernel measures it, because of `bpfStats: true`, a budget, or the sysctl kernel.bpf_stats_enabled.',
    source: 'bpf_prog_info.run_time_ns',
    labels: { probe: PROBE_OR_DISCOVERY, program: PROGRAM },
  },
  runs: {
    ...agent,
    type: 'counter',
    name: 'netsonde_probe_bpf_runs_total',
    help: 'Runs of the BPF program since it was loaded; present only while the kernel measures it, because of `bpfStats: true`, a budget, or the sysctl kernel.bpf_stats_enabled.',
    source: 'bpf_prog_info.run_cnt',
    labels: { probe: PROBE_OR_DISCOVERY, program: PROGRAM },
  },
  missed: {
    ...agent,
    type: 'counter',
    name: 'netsonde_probe_missed_total',
    help: 'Runs of the BPF program that the kernel skipped because it was already running on that CPU; they are missing from all counts. Closed TCP sockets that `tcp_end` misses are counted by `tcp_end_again`, and those that both miss by `tcp_end_third`.',
    source: 'bpf_prog_info.recursion_misses',
    labels: { probe: PROBE_OR_DISCOVERY, program: PROGRAM },
  },
  uncounted: {
    ...agent,
    type: 'counter',
    name: 'netsonde_probe_uncounted_total',
    help: 'Events that the BPF programs of the probe saw but could not count.',
    source: 'map misses',
    labels: {
      probe: PROBE_OR_DISCOVERY,
      cause: {
        help: 'map_full: there were more namespaces, reasons or devices than the map holds; untracked: the start was not seen, or there was no space to record it; no_netns: the namespace is unknown, for example that of a packet without device and socket.',
        values: ['map_full', 'untracked', 'no_netns'],
      },
    },
  },
  departed: {
    ...agent,
    type: 'counter',
    name: 'netsonde_probe_departed_total',
    help: 'Counts of the BPF programs of the probe for Pods and namespaces that are no longer exported, or ended before they were exported. With these and the waiting counts, all rows add up to everything that was counted.',
    source: 'agent',
    labels: { probe: PROBE },
  },
  waiting: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_probe_waiting',
    help: 'Counts of the BPF programs of the probe for network namespaces whose owner is still unknown; after ten seconds they get a row.',
    source: 'agent',
    labels: { probe: PROBE },
  },
  mapBytes: {
    ...agent,
    type: 'gauge',
    unit: 'bytes',
    name: 'netsonde_bpf_map_bytes',
    help: 'Kernel memory used by the BPF map.',
    source: '/proc/self/fdinfo memlock',
    labels: { map: { help: 'Name of the map.', example: 'packet_drops', max: 256 } },
  },
  scrapeSeconds: {
    ...agent,
    type: 'histogram',
    unit: 'seconds',
    name: 'netsonde_scrape_seconds',
    help: 'Time that the kernel thread took to produce a metrics response, including discovery, all probes and rendering.',
    source: 'agent',
    labels: {},
    buckets: SCRAPE_SECONDS,
  },
  unattributed: {
    ...agent,
    type: 'counter',
    name: 'netsonde_samples_unattributed_total',
    help: 'Samples dropped because their network namespace has no known owner.',
    source: 'agent',
    labels: { probe: PROBE },
  },
  shadowed: {
    ...agent,
    type: 'counter',
    name: 'netsonde_entities_shadowed_total',
    help: 'Entities hidden by another one with the same labels: a newer Pod, the home of the same Pod, or a live one.',
    source: 'agent',
    labels: {},
  },
  entities: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_entities',
    help: 'Live entities to which metrics can be attributed.',
    source: 'agent',
    labels: { kind: { help: 'Kind of entity.', values: ['node', 'pod', 'container', 'netns', 'process'] } },
  },
  retired: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_entities_retired',
    help: 'Dead Pods, containers and named namespaces whose last values are still shown.',
    source: 'agent',
    labels: {},
  },
  retiredDropped: {
    ...agent,
    type: 'counter',
    name: 'netsonde_entities_retired_dropped_total',
    help: 'Dead entities whose last values were dropped early because the number of exported dead entities is limited.',
    source: 'agent',
    labels: {},
  },
  retiredPassedOver: {
    ...agent,
    type: 'counter',
    name: 'netsonde_entities_retired_passed_over_total',
    help: 'Dead containers and named namespaces outside of Pods on a Kubernetes node whose last values are not shown because they lost nothing.',
    source: 'agent',
    labels: {},
  },
  unowned: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_namespaces_ignored',
    help: 'Network namespaces without a mount and without a process that the agent can see.',
    source: 'agent',
    labels: {},
  },
  discoveryReader: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_discovery_reader_info',
    help: 'How processes and their Pods are found: by a BPF program that walks the tasks (pass), or by reading /proc (files).',
    source: 'agent',
    labels: { reader: { help: 'Source of the processes.', values: ['pass', 'files'] } },
  },
  unreadable: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_processes_unreadable',
    help: 'Processes whose network namespace the agent cannot read without CAP_SYS_PTRACE.',
    source: 'agent',
    labels: {},
  },
  overflow: {
    ...agent,
    type: 'counter',
    name: 'netsonde_label_overflow_total',
    help: 'Samples whose label value was folded into `*` because the label had too many values.',
    source: 'agent',
    labels: {
      metric: { help: 'Name of the metric.', example: 'netsonde_netdev_received_bytes_total', max: 512 },
      label: { help: 'Name of the label.', example: 'device', max: 16 },
    },
  },
  series: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_page_series',
    help: 'Number of exported series of all probes, excluding those of the agent itself.',
    source: 'agent',
    labels: {},
  },
  seriesLimit: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_page_series_limit',
    help: 'Maximum number of exported series of all probes (`limits.series`).',
    source: 'agent',
    labels: {},
  },
  seriesFolded: {
    ...agent,
    type: 'counter',
    name: 'netsonde_page_series_folded_total',
    help: 'Series folded into `*` because the response would have exceeded `limits.series`.',
    source: 'agent',
    labels: {
      what: {
        help: 'Kind of label. Edges are folded first, then values of other open labels.',
        values: ['edges', 'labels'],
      },
    },
  },
  sourceErrors: {
    ...agent,
    type: 'counter',
    name: 'netsonde_source_errors_total',
    help: 'Failed reads of kernel data, whose data is missing from the response.',
    source: 'agent',
    labels: {
      source: { help: 'Name of the reader.', example: 'procfs', max: 16 },
      path: { help: 'File in the /proc directory of a process, or kind of request.', example: 'net/dev', max: 64 },
    },
  },
});

type SelfEmit = Emit<typeof SELF_METRICS>;

/** Counts that accumulate over all collections. */
export class SelfCounts {
  readonly #collectSeconds = new Map<string, Histogram>();
  readonly #failures = new Map<string, number>();
  readonly #scrapeSeconds = new Histogram(SCRAPE_SECONDS);

  collected({ probe, seconds, error }: CollectOutcome): void {
    let histogram = this.#collectSeconds.get(probe);
    if (histogram === undefined) {
      histogram = new Histogram(COLLECT_SECONDS);
      this.#collectSeconds.set(probe, histogram);
    }
    histogram.observe(seconds);
    this.#failures.set(probe, (this.#failures.get(probe) ?? 0) + (error === undefined ? 0 : 1));
  }

  scraped(seconds: number): void {
    this.#scrapeSeconds.observe(seconds);
  }

  emit(emit: SelfEmit): void {
    for (const [probe, histogram] of this.#collectSeconds) emit('collectSeconds', NODE, histogram.value, { probe });
    for (const [probe, failures] of this.#failures) emit('collectFailures', NODE, failures, { probe });
    emit('scrapeSeconds', NODE, this.#scrapeSeconds.value, NO_LABELS);
  }
}

export interface SelfState {
  readonly counts: SelfCounts;
  readonly aggregator: Aggregator;
  readonly registry: Pick<NetnsRegistry, 'retired' | 'unowned'>;
  readonly scanner: Pick<Scanner, 'reader' | 'unreadableProcesses'>;
  readonly errors: SourceErrors;
  readonly probes: readonly ProbeStatus[];
  readonly active: readonly Pick<ActiveProbe, 'name' | 'probe'>[];
  /** Whether the kernel measures the run times of BPF programs. */
  readonly hasRunTimes: boolean;
}

export function emitSelf(emit: SelfEmit, state: SelfState): void {
  const { counts, aggregator, registry, scanner, errors } = state;
  counts.emit(emit);
  for (const { name, state: current } of state.probes) {
    for (const candidate of PROBE_STATES) {
      emit('probeState', NODE, candidate === current ? 1 : 0, { probe: name, state: candidate });
    }
  }
  for (const { name, probe } of state.active) emitPrograms(emit, name, probe, state.hasRunTimes);
  for (const [probe, count] of aggregator.unattributed) emit('unattributed', NODE, count, { probe });
  for (const [key, count] of aggregator.overflows) {
    const [metric = '', label = ''] = key.split('\0');
    emit('overflow', NODE, count, { metric, label });
  }
  emit('series', NODE, aggregator.limit.series, NO_LABELS);
  emit('seriesLimit', NODE, aggregator.limit.max, NO_LABELS);
  for (const what of SELF_METRICS.seriesFolded.labels.what.values) {
    emit('seriesFolded', NODE, aggregator.limit.folded[what], { what });
  }
  for (const { source, path, count } of errors.counts.values()) emit('sourceErrors', NODE, count, { source, path });
  emit('shadowed', NODE, aggregator.entities.shadowed, NO_LABELS);
  const kinds = aggregator.entities.countByKind();
  for (const kind of SELF_METRICS.entities.labels.kind.values) emit('entities', NODE, kinds.get(kind) ?? 0, { kind });
  emit('retired', NODE, registry.retired.size, NO_LABELS);
  emit('retiredDropped', NODE, registry.retired.dropped, NO_LABELS);
  emit('retiredPassedOver', NODE, registry.retired.passedOver, NO_LABELS);
  emit('unowned', NODE, registry.unowned, NO_LABELS);
  emit('discoveryReader', NODE, 1, { reader: scanner.reader });
  emit('unreadable', NODE, scanner.unreadableProcesses, NO_LABELS);
}

function emitPrograms(emit: SelfEmit, name: string, probe: ActiveProbe['probe'], hasRunTimes: boolean): void {
  for (const program of probe.programs?.() ?? []) {
    const labels = { probe: name, program: program.name };
    emit('hookInfo', NODE, 1, { probe: name, hook: program.hook, kind: hookKind(program.hook) });
    if (hasRunTimes) {
      emit('runSeconds', NODE, program.runSeconds, labels);
      emit('runs', NODE, program.runs, labels);
    }
    emit('missed', NODE, program.missed, labels);
  }
  const uncounted = probe.uncounted?.();
  for (const cause of SELF_METRICS.uncounted.labels.cause.values) {
    const count = uncounted?.[cause];
    if (count !== undefined) emit('uncounted', NODE, count, { probe: name, cause });
  }
  const notShown = probe.notShown?.();
  if (notShown !== undefined) {
    emit('departed', NODE, notShown.departed, { probe: name });
    emit('waiting', NODE, notShown.waiting, { probe: name });
  }
  for (const [map, bytes] of Object.entries(probe.mapBytes?.() ?? {})) {
    emit('mapBytes', NODE, bytes, { map: `${name}/${map}` });
  }
}
