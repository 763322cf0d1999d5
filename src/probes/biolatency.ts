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

// Namespaced: by the process that made the request. Data that a process wrote to files is written back later by a thread of the kernel:
// that I/O counts for the node, like all I/O that the kernel does for itself.

type Operation = keyof typeof blockOperation;

const metrics = defineMetrics({
  delay: {
    ...LATENCY,
    name: 'netsonde_block_io_seconds',
    help: 'Time that a block device took for a request, without queues in the kernel. Requests that processes of a Pod make themselves count for the Pod, all others for the node.',
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
    help: 'A block device took longer than the threshold for a request.',
    severity: 'warning',
    equalBy: ['device', 'operation', 'process'],
    fields: {
      device: { type: 'string', help: 'Name of the device.' },
      operation: { type: 'string', help: 'Operation of the request: read, write, flush, discard or other.' },
      delaySeconds: { type: 'number', help: 'Time that the device took.' },
      bytes: { type: 'number', help: 'Bytes of the request.' },
      process: {
        type: 'string',
        help: 'Name of the thread that made the request; a kernel thread where it writes back data that others wrote.',
      },
      pid: { type: 'number', help: 'Process id of that thread, as the node numbers it.' },
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
      what: 'requests handed to devices',
      choices: [
        // Before 5.11 the queue came first.
        { hooks: [hook('tp_btf/block_rq_issue', 2, 'block_rq_issue_queue')] },
        { hooks: [hook('tp_btf/block_rq_issue', 1, 'block_rq_issue')] },
      ],
    },
    {
      what: 'the process that makes a request, which otherwise counts for the process that hands it to the device',
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
  summary: 'Time that block devices take for each request, per Pod and device. For Pods that wait for their disks.',
  guide: {
    question: 'Does a Pod wait for its disk, and which device is slow?',
    when: 'Switch it on when an application is late, and `socketlatency` shows that it reads late.',
    query:
      'histogram_quantile(0.99, sum by (le, namespace, pod, device) (rate(netsonde_block_io_seconds_bucket[5m]))) > 0.1',
    limits: [
      'Only the time of the device is measured: the time that a request waits in the queues of the kernel is left out.',
      'Data written through the page cache is written to the device later, by a thread of the kernel, and counts for the node.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('10ms').describe('Shortest time of a request that gets an event.'),
    buckets: bucketsOption('16us', '4s'),
  },
  hooks,
  maps: { block_histograms: 'rows', block_requests: 'device' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Before 6.5 a request counts for the process that hands it to the device.',
  },
  measured: { programs: { ns: { block_io_start: '480', block_rq_issue: '107', block_rq_complete: '642' } } },
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
