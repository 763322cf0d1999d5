import * as z from 'zod';
import { FILE, type Layout, softirqEvent, softirqKind, softirqVector } from '#bpf/generated/softirq.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, histogramValue, LATENCY } from '#probe/histogram.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { LATENCY_SETTINGS, openLatencies } from '#probe/latency.ts';
import { defineMetrics, NODE } from '#probe/metric.ts';

// These metrics are not per network namespace. A softirq runs on a CPU and processes packets of all namespaces.

type Vector = keyof typeof softirqVector;

const VECTORS = namesOf(softirqVector);

const latency = {
  ...LATENCY,
  scope: 'node',
  detail: 'core',
  labels: { vector: { help: 'Kind of softirq. The option `vectors` selects the measured kinds.', values: VECTORS } },
} as const;

const metrics = defineMetrics({
  wait: {
    ...latency,
    name: 'netsonde_softirq_wait_seconds',
    help: 'Time from raising a softirq until the CPU started to run it.',
    source: 'irq:softirq_raise, irq:softirq_entry, map softirq_histograms',
  },
  run: {
    ...latency,
    name: 'netsonde_softirq_run_seconds',
    help: 'Time that a CPU spent running a softirq.',
    source: 'irq:softirq_entry, irq:softirq_exit, map softirq_histograms',
  },
});

const KINDS = namesOf(softirqKind).length;

const fields = {
  cpu: { type: 'number', help: 'CPU number.' },
  vector: { type: 'string', help: 'Kind of softirq.' },
  delaySeconds: { type: 'number', help: 'Time that the softirq waited or ran.' },
  task: { type: 'string', help: 'Name of the task that the CPU was running.' },
  pid: { type: 'number', help: 'Process ID of that task; 0 for the idle task.' },
} as const;

const events = defineEvents({
  softirq_wait_slow: {
    help: 'A raised softirq waited for longer than the threshold, during which packets waited in the queues of the CPU.',
    severity: 'warning',
    equalBy: ['cpu', 'vector'],
    fields,
  },
  softirq_run_slow: {
    help: 'A CPU ran one softirq for longer than the threshold and could run nothing else.',
    severity: 'warning',
    equalBy: ['cpu', 'vector'],
    fields,
  },
});

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'softirqs',
      choices: [
        {
          // The hook for the end of a run precedes the hook for its start, so that every measured start has an end.
          hooks: [
            hook('tp_btf/softirq_exit', 1, 'softirq_exit'),
            hook('tp_btf/softirq_entry', 1, 'softirq_entry'),
            hook('tp_btf/softirq_raise', 1, 'softirq_raise'),
          ],
        },
      ],
    },
  ],
};

type SlowEvent = EventBody<(typeof events)['softirq_wait_slow']>;

function decodeEvent(view: DataView, at: number, timeNs: bigint): SlowEvent {
  const delayNs = Number(softirqEvent.delay(view, at));
  const cpu = softirqEvent.cpu(view, at);
  const vector = vectorName(softirqEvent.vector(view, at));
  const task = softirqEvent.task(view, at);
  const pid = softirqEvent.pid(view, at);
  const took =
    softirqEvent.kind(view, at) === softirqKind.wait
      ? `the softirq ${vector} waited ${formatDuration(delayNs)} until it ran`
      : `the softirq ${vector} ran for ${formatDuration(delayNs)}`;
  return {
    timeNs,
    netns: NODE,
    fields: { cpu, vector, delaySeconds: delayNs / 1e9, task, pid },
    message: `On CPU ${cpu} ${took}. The CPU was running ${task} (pid ${pid}).`,
  };
}

function vectorName(number: number): Vector {
  return nameOf(softirqVector, number) ?? 'hi';
}

export const softirq = defineProbe({
  name: 'softirq',
  kind: 'ebpf',
  cost: 'high',
  enabledByDefault: false,
  summary:
    'Time that softirqs, which receive and send the packets of all Pods, wait and run. For nodes where packets are delayed although the links are idle.',
  guide: {
    question: 'Do packets wait because a CPU is busy with something else?',
    when: 'Enable it when `softnet` shows exhausted budgets, or when packets are delayed on a node whose links are idle. The events name the task that was running.',
    query:
      'histogram_quantile(0.99, sum by (le, node, vector) (rate(netsonde_softirq_wait_seconds_bucket[5m]))) > 0.01',
    limits: [
      'All values are for the node because a softirq handles packets of all Pods.',
      'The probe runs for every softirq of the chosen kinds on every CPU. Each additional kind in `vectors` adds to the cost.',
    ],
  },
  metrics,
  events,
  options: {
    vectors: z
      .array(z.enum(VECTORS))
      .min(1)
      .default(['net_rx', 'net_tx'])
      .describe('Kinds of softirqs to measure. Each additional kind adds a cost proportional to its rate.'),
    threshold: duration('10ms').describe('Minimum waiting time or run time of a softirq that causes an event.'),
    buckets: bucketsOption('1us', '100ms'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { softirq_clocks: 'fixed', softirq_histograms: 'fixed' },
  requires: { capabilities: ['CAP_BPF', 'CAP_PERFMON'], kernel: 'BTF, ring buffers and atomic exchange (5.12).' },
  measured: { programs: { ns: { softirq_raise: '44', softirq_entry: '48', softirq_exit: '51' } } },
  open: async (scope, sources, settings) => {
    const { vectors, threshold } = settings.options;
    const measured = VECTORS.filter((vector) => vectors.includes(vector));
    const { histograms, running, shown } = await openLatencies<Layout, number>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: {
          vectors: measured.reduce((bits, vector) => bits | (1 << softirqVector[vector]), 0),
          threshold,
          node_netns: sources.netns.node?.id ?? 0,
        },
        events: {
          recordBytesMax: softirqEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const type = softirqEvent.kind(view, at) === softirqKind.wait ? 'softirq_wait_slow' : 'softirq_run_slow';
            scope.publish(type, decodeEvent(view, at, wallNs(softirqEvent.time(view, at))));
          },
        },
      },
      { name: 'softirq_histograms', decodeKey: (view, at) => view.getUint32(at, true), isByNetns: false },
      1,
    );
    return {
      ...running,
      collect: async (emit) => {
        for (const {
          key,
          histograms: [histogram],
        } of histograms.rows()) {
          const vector = vectorName(Math.floor(key / KINDS));
          const kind = nameOf(softirqKind, key % KINDS);
          if (histogram === undefined || kind === undefined || !measured.includes(vector)) continue;
          emit(kind, NODE, histogramValue(histogram, shown()), { vector });
        }
      },
    };
  },
});
