import { blockEvent, blockKey, blockOperation, FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/biolatency.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, histogramValue, LATENCY, shownBuckets } from '#probe/histogram.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { openLatencies } from '#probe/latency.ts';
import { defineMetrics } from '#probe/metric.ts';
import { NAMESPACES_MAX } from '#probe/room.ts';

// Namespaced: by whose process asked for it. What a process has written to files, the kernel writes back later in a
// thread of its own: that is the node's, as is all that the kernel does for itself.

type Operation = keyof typeof blockOperation;

const metrics = defineMetrics({
  delay: {
    ...LATENCY,
    name: 'netsonde_block_io_seconds',
    help: 'Time that a block device took for a request, queues in the kernel left out; of a Pod what its processes asked for themselves, of the node all else.',
    source: 'block:block_rq_issue, block:block_rq_complete, map block_histograms',
    scope: 'pod',
    detail: 'core',
    labels: {
      device: { help: 'Name of the device.', example: 'nvme0n1', max: 16 },
      operation: { help: 'What the device had to do.', values: namesOf(blockOperation) },
    },
  },
});

const events = defineEvents({
  block_io_slow: {
    help: 'A block device took longer than the threshold for a request.',
    severity: 'warning',
    equalBy: ['device', 'operation', 'process'],
    fields: {
      device: { type: 'string', help: 'Name of the device.' },
      operation: { type: 'string', help: 'What it had to do: read, write, flush, discard or other.' },
      delaySeconds: { type: 'number', help: 'How long the device took.' },
      bytes: { type: 'number', help: 'Bytes of the request.' },
      process: {
        type: 'string',
        help: 'Name of the thread that asked for it; of a kernel thread where it writes back what others wrote.',
      },
      pid: { type: 'number', help: 'Its process, as the node numbers it.' },
    },
  },
});

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'requests that are done',
      choices: [{ hooks: [hook('tp_btf/block_rq_complete', 3, 'block_rq_complete')] }],
    },
    {
      what: 'requests that devices get',
      choices: [
        // Before 5.11 the queue came first.
        { hooks: [hook('tp_btf/block_rq_issue', 2, 'block_rq_issue_queue')] },
        { hooks: [hook('tp_btf/block_rq_issue', 1, 'block_rq_issue')] },
      ],
    },
    {
      what: 'who makes a request, which counts otherwise for who hands it to the device',
      optional: true,
      choices: [{ hooks: [hook('tp_btf/block_io_start', 1, 'block_io_start')] }],
    },
  ],
};

interface Key {
  readonly netns: NetnsId;
  readonly device: string;
  readonly operation: Operation;
}

function decodeKey(view: DataView, at: number): Key {
  return {
    netns: asNetnsId(blockKey.netns(view, at)),
    device: blockKey.device(view, at),
    operation: nameOf(blockOperation, blockKey.operation(view, at)) ?? 'other',
  };
}

function decodeEvent(view: DataView, at: number, timeNs: bigint): EventBody<(typeof events)['block_io_slow']> {
  const { netns, device, operation } = decodeKey(view, at + blockEvent.offsets.key);
  const delayNs = Number(blockEvent.delay(view, at));
  const bytes = blockEvent.bytes(view, at);
  const process = blockEvent.process(view, at);
  const pid = blockEvent.pid(view, at);
  return {
    timeNs,
    netns,
    fields: { device, operation, delaySeconds: delayNs / 1e9, bytes, process, pid },
    message: `${device} took ${formatDuration(delayNs)} for a ${operation} of ${bytes} bytes, for ${process} (pid ${pid}).`,
  };
}

export const biolatency = defineProbe({
  name: 'biolatency',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: false,
  summary: 'How long block devices take for each request, per Pod and device. For Pods that wait for their disks.',
  guide: {
    question: 'Does a Pod wait for its disk, and which device is slow?',
    when: 'Switch it on when an application is late, and `socketlatency` shows that it reads late.',
    query:
      'histogram_quantile(0.99, sum by (le, namespace, pod, device) (rate(netsonde_block_io_seconds_bucket[5m]))) > 0.1',
    limits: [
      'The time of the device: what a request waits in the queues of the kernel is left out.',
      "What is written through the page cache is written later by a thread of the kernel, and is then the node's.",
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('10ms').describe('An event for each request that the device takes longer for.'),
    buckets: bucketsOption('16us', '4s'),
  },
  hooks,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Before 6.5 a request counts for who hands it to the device.',
  },
  open: async (scope, sources, settings) => {
    const { threshold, buckets } = settings.options;
    const { histograms, running } = await openLatencies<Layout, Key>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: { threshold, node_netns: sources.netns.node?.id ?? 0 },
        room: {
          map: 'block_histograms',
          rows: NAMESPACES_MAX,
          preallocated: MAX_ENTRIES.block_histograms,
          rests: Object.keys(blockOperation).length,
        },
        events: {
          recordBytesMax: blockEvent.SIZE,
          onRecord: (view, at, wallNs) =>
            scope.publish('block_io_slow', decodeEvent(view, at, wallNs(blockEvent.time(view, at)))),
        },
      },
      { name: 'block_histograms', decodeKey, isByNetns: true },
      1,
    );
    const shown = shownBuckets(buckets);
    return {
      ...running,
      collect: async (emit) => {
        for (const {
          key,
          histograms: [histogram],
        } of histograms.rows()) {
          const { netns, device, operation } = key;
          if (histogram !== undefined) emit('delay', netns, histogramValue(histogram, shown), { device, operation });
        }
      },
    };
  },
});
