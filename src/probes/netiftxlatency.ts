import { FILE, type Layout, transmitEvent, transmitHistograms, transmitKind } from '#bpf/generated/netiftxlatency.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, LATENCY } from '#probe/histogram.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { inOrderOf, LATENCY_SETTINGS, openNetnsLatencies } from '#probe/latency.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeTuple } from '#probe/scene.ts';

// These metrics are per network namespace. A packet belongs to the namespace of the device that sends it. A packet from
// a Pod to another node passes through a device of the Pod and then a device of the node, and is counted in both
// namespaces.

const latency = { ...LATENCY, scope: 'pod', detail: 'core', labels: {} } as const;

const metrics = defineMetrics({
  qdisc: {
    ...latency,
    name: 'netsonde_qdisc_delay_seconds',
    help: 'Time that a packet waited in the queueing discipline of a device before it reached the driver. Excludes loopback.',
    source: 'net:net_dev_queue, net:net_dev_start_xmit, map transmit_histograms',
  },
  driver: {
    ...latency,
    name: 'netsonde_driver_transmit_seconds',
    help: 'Time that the driver of a device took to accept a packet. Excludes loopback.',
    source: 'net:net_dev_start_xmit, net:net_dev_xmit, map transmit_histograms',
  },
});

const KINDS = inOrderOf(transmitHistograms, { qdisc: { metric: 'qdisc' }, driver: { metric: 'driver' } });

const fields = {
  device: { type: 'string', help: 'Device that sent the packet.' },
  qdisc: { type: 'string', help: 'Queueing discipline at the root of the device.' },
  delaySeconds: { type: 'number', help: 'Time that the packet waited, or that the driver took.' },
  length: { type: 'number', help: 'Packet length in bytes.' },
} as const;

const events = defineEvents({
  qdisc_slow: {
    help: 'A packet waited in the queueing discipline of its device for longer than the threshold.',
    severity: 'warning',
    equalBy: ['device'],
    fields,
  },
  driver_transmit_slow: {
    help: 'The driver of a device took longer than the threshold to accept a packet.',
    severity: 'warning',
    equalBy: ['device'],
    fields,
  },
});

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'packets in queues and drivers',
      choices: [
        {
          hooks: [
            hook('tp_btf/net_dev_xmit', 3, 'transmit_done'),
            hook('tp_btf/net_dev_start_xmit', 2, 'transmit_started'),
            hook('tp_btf/kfree_skb', 1, 'packet_dropped'),
            hook('tp_btf/net_dev_queue', 1, 'packet_queued'),
          ],
        },
      ],
    },
  ],
};

type SlowEvent = EventBody<(typeof events)['qdisc_slow']>;

function decodeEvent(view: DataView, at: number, timeNs: bigint): SlowEvent {
  const { src, dst, protocol } = decodeTuple(view, at + transmitEvent.offsets.tuple);
  const delayNs = Number(transmitEvent.delay(view, at));
  const device = transmitEvent.device(view, at);
  const qdisc = transmitEvent.qdisc(view, at);
  const length = transmitEvent.length(view, at);
  const from = src === undefined ? '' : ` from ${src} to ${dst}`;
  const packet = `A ${protocol} packet of ${length} bytes${from}`;
  const took = formatDuration(delayNs);
  return {
    timeNs,
    netns: asNetnsId(transmitEvent.netns(view, at)),
    ...(src === undefined || dst === undefined ? {} : { src, dst }),
    protocol,
    fields: { device, qdisc, delaySeconds: delayNs / 1e9, length },
    message:
      transmitEvent.kind(view, at) === transmitKind.qdisc
        ? `${packet} waited ${took} in the queue (${qdisc}) of ${device}.`
        : `${packet} was accepted by the driver of ${device} after ${took}.`,
  };
}

export const netiftxlatency = defineProbe({
  name: 'netiftxlatency',
  kind: 'ebpf',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'Time that packets wait in device queues and for the drivers, per Pod. For traffic that is shaped or delayed for no visible reason.',
  guide: {
    question: 'How long do packets wait in the queue of a device, and for its driver?',
    when: 'Enable it when traffic is shaped, or when outgoing packets are delayed but not dropped.',
    query:
      'histogram_quantile(0.99, sum by (le, node, namespace, pod) (rate(netsonde_qdisc_delay_seconds_bucket[5m]))) > 0.1',
    limits: [
      'The loopback device is not measured.',
      'A packet from a Pod to another node passes two devices and is measured at both: once for the Pod and once for the node.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('100ms').describe(
      'Minimum time of a packet in the queue or in the driver that causes an event.',
    ),
    buckets: bucketsOption('1us', '1s'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { transmit_depths: 'fixed', transmits: 'fixed', transmit_histograms: 'rows', queued_packets: 'later' },
  requires: { capabilities: ['CAP_BPF', 'CAP_PERFMON'], kernel: 'BTF and ring buffers (5.8).' },
  measured: {
    programs: { ns: { net_dev_queue: '53', net_dev_start_xmit: '74', net_dev_xmit: '101', kfree_skb: '10' } },
  },
  open: (scope, sources, settings) =>
    openNetnsLatencies<Layout, typeof metrics>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: { threshold: settings.options.threshold },
        events: {
          recordBytesMax: transmitEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const type = transmitEvent.kind(view, at) === transmitKind.qdisc ? 'qdisc_slow' : 'driver_transmit_slow';
            scope.publish(type, decodeEvent(view, at, wallNs(transmitEvent.time(view, at))));
          },
        },
      },
      'transmit_histograms',
      KINDS,
    ),
});
