import { FILE, kernelEvent, kernelHistograms, type Layout, packetWay } from '#bpf/generated/kernellatency.ts';
import { nameOf } from '#bpf/layout.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, LATENCY } from '#probe/histogram.ts';
import { type Hook, type HookTable, hook } from '#probe/hooks.ts';
import { inOrderOf, LATENCY_SETTINGS, openNetnsLatencies } from '#probe/latency.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeTuple, processConstants } from '#probe/scene.ts';

// These metrics are per network namespace. The IP layer of a namespace receives packets from the devices and sockets of
// that namespace. Packets that are only forwarded are not counted, because no socket receives or sends them.

const latency = { ...LATENCY, scope: 'pod', detail: 'core' } as const;

const metrics = defineMetrics({
  receive: {
    ...latency,
    name: 'netsonde_kernel_receive_delay_seconds',
    help: 'Time that packets to this namespace spent in a stage of the IP layer, including netfilter. Excludes forwarded packets.',
    source: 'ip_rcv_core, ip_local_deliver, ip_protocol_deliver_rcu and their IPv6 counterparts, map kernel_histograms',
    labels: {
      stage: {
        help: 'prerouting: from the header check through netfilter and routing to ip_local_deliver; input: from there through reassembly and netfilter to ip_protocol_deliver_rcu; transport: from there through TCP, UDP or another protocol to the socket. delivery: from device to socket, which replaces these stages if the functions cannot be hooked.',
        values: ['prerouting', 'input', 'transport', 'delivery'],
      },
    },
  },
  send: {
    ...latency,
    name: 'netsonde_kernel_send_delay_seconds',
    help: 'Time that packets sent by sockets of this namespace spent in a stage of the IP layer, including netfilter.',
    source:
      '__ip_local_out, ip_output, ip_finish_output2 and their IPv6 counterparts, net:net_dev_queue, map kernel_histograms',
    labels: {
      stage: {
        help: 'output: from __ip_local_out (TCP over IPv6: ip6_xmit) through netfilter to ip_output; postrouting: from there through netfilter to ip_finish_output2; neighbour: from there through neighbour resolution and tc egress to the queue of the device. device: from the queue of the device until the driver has accepted the packet, which replaces these stages if the functions cannot be hooked.',
        values: ['output', 'postrouting', 'neighbour', 'device'],
      },
    },
  },
});

const KINDS = inOrderOf(kernelHistograms, {
  prerouting: { metric: 'receive', labels: { stage: 'prerouting' } },
  input: { metric: 'receive', labels: { stage: 'input' } },
  transport: { metric: 'receive', labels: { stage: 'transport' } },
  output: { metric: 'send', labels: { stage: 'output' } },
  postrouting: { metric: 'send', labels: { stage: 'postrouting' } },
  neighbour: { metric: 'send', labels: { stage: 'neighbour' } },
  delivery: { metric: 'receive', labels: { stage: 'delivery' } },
  device: { metric: 'send', labels: { stage: 'device' } },
});

const whole = {
  delaySeconds: { type: 'number', help: 'Total time of all stages.' },
  length: { type: 'number', help: 'Packet length in bytes.' },
} as const;

function stageField(stage: string) {
  return { type: 'number', help: `Time that the stage ${stage} took.`, optional: true } as const;
}

const events = defineEvents({
  kernel_receive_slow: {
    help: 'A received packet took longer than the threshold to pass through the IP layer to its socket.',
    severity: 'warning',
    equalBy: [],
    fields: {
      ...whole,
      preroutingSeconds: stageField('prerouting'),
      inputSeconds: stageField('input'),
      transportSeconds: stageField('transport'),
      deliverySeconds: stageField('delivery'),
    },
  },
  kernel_send_slow: {
    help: 'A sent packet took longer than the threshold to pass from its socket through the IP layer.',
    severity: 'warning',
    equalBy: [],
    fields: {
      ...whole,
      outputSeconds: stageField('output'),
      postroutingSeconds: stageField('postrouting'),
      neighbourSeconds: stageField('neighbour'),
      deviceSeconds: stageField('device'),
    },
  },
});

const DROPPED = hook('tp_btf/kfree_skb', 1, 'packet_dropped');
const QUEUED = hook('tp_btf/net_dev_queue', 1, 'packet_queued');
const NO_FUNCTIONS = 'functions of the IP layer cannot be hooked, so tracepoints measure a single stage';

/** Name of the function, number of arguments that the program reads, and name of the program. */
type FunctionHook<P extends string> = readonly [name: string, args: number, program: P];

function fentry<P extends string>([name, args, program]: FunctionHook<P>): Hook<`${P}_entry`> {
  return hook(`fentry/${name}`, args, `${program}_entry`);
}

function kprobe<P extends string>([name, args, program]: FunctionHook<P>): Hook<`${P}_probe`> {
  return hook(`kprobe/${name}`, args, `${program}_probe`);
}

const RECEIVE = [
  ['ip_protocol_deliver_rcu', 2, 'transport_v4'],
  ['ip6_protocol_deliver_rcu', 2, 'transport_v6'],
  ['ip_local_deliver', 1, 'input_v4'],
  ['ip6_input', 1, 'input_v6'],
] as const;

const SEND = [
  ['ip_finish_output2', 3, 'postrouting_v4'],
  ['ip6_finish_output2', 3, 'postrouting_v6'],
  ['ip_output', 3, 'output_v4'],
  ['ip6_output', 3, 'output_v6'],
  ['__ip_local_out', 3, 'sent_v4'],
  ['__ip6_local_out', 3, 'sent_v6'],
] as const;

const SEND_TCP_V6 = ['ip6_xmit', 2, 'sent_tcp_v6'] as const;

/**
 * In each choice, the hooks at the end of a path precede those at its beginning, because they must be attached first.
 */
const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'packets received',
      optional: true,
      choices: [
        {
          hooks: [
            DROPPED,
            hook('fexit/ip_protocol_deliver_rcu', 2, 'transport_v4_exit'),
            hook('fexit/ip6_protocol_deliver_rcu', 2, 'transport_v6_exit'),
            ...RECEIVE.map(fentry),
            hook('fexit/ip_rcv_core', 2, 'received_v4_exit'),
            hook('fexit/ip6_rcv_core', 3, 'received_v6_exit'),
          ],
        },
        {
          hooks: [
            DROPPED,
            hook('kretprobe/ip_protocol_deliver_rcu', 2, 'transport_v4_return'),
            hook('kretprobe/ip6_protocol_deliver_rcu', 2, 'transport_v6_return'),
            ...RECEIVE.map(kprobe),
            hook('kretprobe/ip_rcv_core', 2, 'received_v4_return'),
            hook('kretprobe/ip6_rcv_core', 3, 'received_v6_return'),
          ],
        },
        {
          hooks: [
            hook('tp_btf/sk_data_ready', 1, 'socket_ready'),
            hook('tp_btf/netif_receive_skb', 1, 'device_received'),
          ],
          lacks: `${NO_FUNCTIONS}, from device to socket. Not measured: packets without data for their socket, packets that arrive while a process has their socket locked, and all but one packet of each received batch`,
        },
      ],
    },
    {
      what: 'packets sent',
      choices: [
        { hooks: [DROPPED, QUEUED, ...SEND.map(fentry), fentry(SEND_TCP_V6)] },
        // Before 6.6, fentry programs cannot be attached to functions with more than six arguments on x86.
        { hooks: [DROPPED, QUEUED, ...SEND.map(fentry), kprobe(SEND_TCP_V6)] },
        { hooks: [DROPPED, QUEUED, ...SEND.map(kprobe), kprobe(SEND_TCP_V6)] },
        {
          hooks: [
            DROPPED,
            hook('tp_btf/net_dev_xmit', 4, 'device_sent'),
            hook('tp_btf/net_dev_queue', 1, 'device_queued'),
          ],
          lacks: `${NO_FUNCTIONS}, from the queue of the device to its driver. Not measured: routing, netfilter and neighbour resolution`,
        },
      ],
    },
  ],
};

type EventType = keyof typeof events & string;

/** Event type and stages for each direction. */
const WAYS: Readonly<Record<keyof typeof packetWay, { readonly type: EventType; readonly stages: readonly string[] }>> =
  {
    receive: { type: 'kernel_receive_slow', stages: ['prerouting', 'input', 'transport'] },
    send: { type: 'kernel_send_slow', stages: ['output', 'postrouting', 'neighbour'] },
    delivery: { type: 'kernel_receive_slow', stages: ['delivery'] },
    device: { type: 'kernel_send_slow', stages: ['device'] },
  };

type SlowEvent = EventBody<(typeof events)['kernel_receive_slow']> & EventBody<(typeof events)['kernel_send_slow']>;

function decodeEvent(
  view: DataView,
  at: number,
  timeNs: bigint,
): { readonly type: EventType; readonly body: SlowEvent } | undefined {
  const name = nameOf(packetWay, kernelEvent.way(view, at));
  if (name === undefined) return undefined;
  const way = WAYS[name];
  const { src, dst, protocol } = decodeTuple(view, at + kernelEvent.offsets.tuple);
  const length = kernelEvent.length(view, at);
  const delaysNs = way.stages.map((_, index) => Number(kernelEvent.stages(view, at, index)));
  const delayNs = delaysNs.reduce((sum, delay) => sum + delay, 0);
  const parts = way.stages.map((stage, index) => `${stage} ${formatDuration(delaysNs[index] ?? 0)}`);
  const from = src === undefined ? '' : ` from ${src} to ${dst}`;
  const verb = way.type === 'kernel_receive_slow' ? 'received' : 'sent';
  return {
    type: way.type,
    body: {
      timeNs,
      netns: asNetnsId(kernelEvent.netns(view, at)),
      ...(src === undefined || dst === undefined ? {} : { src, dst }),
      protocol,
      fields: {
        delaySeconds: delayNs / 1e9,
        length,
        ...Object.fromEntries(way.stages.map((stage, index) => [`${stage}Seconds`, (delaysNs[index] ?? 0) / 1e9])),
      },
      message: `A ${protocol} packet of ${length} bytes${from} was ${verb} after ${formatDuration(delayNs)} in the kernel: ${parts.join(', ')}.`,
    },
  };
}

export const kernellatency = defineProbe({
  name: 'kernellatency',
  kind: 'ebpf',
  cost: 'high',
  enabledByDefault: false,
  summary:
    'Time that packets spend in the stages of the IP layer, including netfilter and routing, per Pod. Shows delays between device and socket, which may be caused by long rule chains, queues to user space or unresponsive neighbours.',
  guide: {
    question: 'In which stage of the IP layer are packets delayed: netfilter, routing, neighbours or transport?',
    when: 'Enable it when packets are delayed between device and socket and `softirq` shows no delay. It costs more per packet than any other probe, so restrict it to a few Pods and set a duration and a budget.',
    query:
      'histogram_quantile(0.99, sum by (le, namespace, pod, stage) (rate(netsonde_kernel_receive_delay_seconds_bucket[5m]))) > 0.01',
    limits: [
      'Forwarded packets are not measured.',
      'If the functions cannot be hooked, each direction has a single stage, and the status of the probe says what is not measured.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('10ms').describe('Minimum total time of a packet that causes an event.'),
    buckets: bucketsOption('1us', '1s'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { packet_deliveries: 'fixed', kernel_histograms: 'rows', packet_slots: 'later' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8); fentry or kprobes for the stages.',
  },
  measured: {
    programs: {
      ns: {
        netif_receive_skb: '64',
        sk_data_ready: '174-234',
        net_dev_queue: '134-149',
        net_dev_xmit: '119-127',
        kfree_skb: '32',
      },
      note: 'with tracepoints',
    },
  },
  open: (scope, sources, settings) => {
    sources.bpf.check();
    return openNetnsLatencies<Layout, typeof metrics>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: { threshold: settings.options.threshold, ...processConstants(sources.bpf.btf()) },
        events: {
          recordBytesMax: kernelEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const event = decodeEvent(view, at, wallNs(kernelEvent.time(view, at)));
            if (event !== undefined) scope.publish(event.type, event.body);
          },
        },
      },
      'kernel_histograms',
      KINDS,
    );
  },
});
