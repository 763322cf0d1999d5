import { blockEvent, blockKey, blockOperation, FILE, type Layout, MAX_ENTRIES } from '#bpf/generated/biolatency.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, histogramValue, LATENCY } from '#probe/histogram.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { LATENCY_SETTINGS, openLatencies } from '#probe/latency.ts';
import { defineMetrics } from '#probe/metric.ts';
import { NAMESPACES_MAX } from '#probe/room.ts';

// These metrics are per network namespace. A request counts for the namespace of the process that makes it. Buffered
// writes reach the device later, from a kernel thread. Such I/O, like all other I/O of the kernel itself, counts for
// the node.

type Operation = keyof typeof blockOperation;

const metrics = defineMetrics({
  delay: {
    ...LATENCY,
    name: 'netsonde_block_io_seconds',
    help: 'Time that a block device took to complete a request, excluding time in kernel queues. Requests made by processes of a Pod are attributed to the Pod, all others to the node.',
    source: 'block:block_rq_issue, block:block_rq_complete, map block_histograms',
    scope: 'pod',
    detail: 'core',
    labels: {
      device: { help: 'Name of the device.', example: 'nvme0n1', max: 16 },
      operation: { help: 'Operation of the request.', values: namesOf(blockOperation) },
    },
  },
});

const events = defineEvents({
  block_io_slow: {
    help: 'A block device took longer than the threshold to complete a request.',
    severity: 'warning',
    equalBy: ['device', 'operation', 'process'],
    fields: {
      device: { type: 'string', help: 'Name of the device.' },
      operation: { type: 'string', help: 'Operation of the request: read, write, flush, discard or other.' },
      delaySeconds: { type: 'number', help: 'Time that the device took to complete the request.' },
      bytes: { type: 'number', help: 'Request size in bytes.' },
      process: {
        type: 'string',
        help: 'Name of the thread that made the request. For page cache writeback, this is a kernel thread.',
      },
      pid: { type: 'number', help: 'Process ID of that thread on the node.' },
    },
  },
});

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'completed requests',
      choices: [{ hooks: [hook('tp_btf/block_rq_complete', 3, 'block_rq_complete')] }],
    },
    {
      what: 'requests issued to devices',
      choices: [
        // Before 5.11, the queue was the first argument.
        { hooks: [hook('tp_btf/block_rq_issue', 2, 'block_rq_issue_queue')] },
        { hooks: [hook('tp_btf/block_rq_issue', 1, 'block_rq_issue')] },
      ],
    },
    {
      what: 'the process that makes a request (otherwise the process that issues it to the device)',
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
    message: `${device} took ${formatDuration(delayNs)} for a ${operation} of ${bytes} bytes, requested by ${process} (pid ${pid}).`,
  };
}

export const biolatency = defineProbe({
  name: 'biolatency',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: false,
  summary:
    'Time that block devices take to complete requests, per Pod and device. Useful for Pods that wait for their disks.',
  guide: {
    question: 'Does a Pod wait for its disk, and which device is slow?',
    when: 'Enable it when an application is slow and `socketlatency` shows that it reads its sockets late.',
    query:
      'histogram_quantile(0.99, sum by (le, namespace, pod, device) (rate(netsonde_block_io_seconds_bucket[5m]))) > 0.1',
    limits: [
      'Only the time that the device takes is measured, not the time that a request waits in kernel queues.',
      'Data written through the page cache is later written to the device by a kernel thread, and is attributed to the node.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('10ms').describe('Minimum duration of a request that causes an event.'),
    buckets: bucketsOption('16us', '4s'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { block_histograms: 'rows', block_requests: 'device' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and ring buffers (5.8). Before 6.5, a request is attributed to the process that issues it to the device.',
  },
  measured: { programs: { ns: { block_io_start: '480', block_rq_issue: '107', block_rq_complete: '642' } } },
  open: async (scope, sources, settings) => {
    const { threshold } = settings.options;
    const { histograms, running, shown } = await openLatencies<Layout, Key>(
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
    return {
      ...running,
      collect: async (emit) => {
        for (const {
          key,
          histograms: [histogram],
        } of histograms.rows()) {
          const { netns, device, operation } = key;
          if (histogram !== undefined) emit('delay', netns, histogramValue(histogram, shown()), { device, operation });
        }
      },
    };
  },
});
