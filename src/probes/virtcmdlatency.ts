import { FILE, type Layout, virtioEvent } from '#bpf/generated/virtcmdlatency.ts';
import { duration, formatDuration } from '#core/duration.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { bucketsOption, histogramValue, isEmpty, LATENCY } from '#probe/histogram.ts';
import { type HookChoice, type HookTable, hook } from '#probe/hooks.ts';
import { LATENCY_SETTINGS, openLatencies } from '#probe/latency.ts';
import { defineMetrics, NO_LABELS, NODE } from '#probe/metric.ts';

// These metrics are not per network namespace. The device belongs to the machine, whichever namespace it is in. While
// the driver waits, it often holds the lock of all network devices (RTNL), which affects all namespaces.

const metrics = defineMetrics({
  delay: {
    ...LATENCY,
    name: 'netsonde_virtio_command_seconds',
    help: 'Time that the hypervisor took to execute a control command of a virtio-net device. The driver waits for it, often while holding the lock of all network devices (RTNL).',
    source: 'virtnet_send_command, virtnet_send_command_reply, map virtio_histograms',
    scope: 'node',
    detail: 'core',
    labels: {},
  },
});

const events = defineEvents({
  virtio_command_slow: {
    help: 'The hypervisor took longer than the threshold to execute a control command of a virtio-net device.',
    severity: 'warning',
    equalBy: ['class', 'command', 'device'],
    fields: {
      class: {
        type: 'string',
        help: 'Command class: rx, mac, vlan, announce, mq, offloads, coalesce, stats, or a number.',
      },
      command: { type: 'string', help: 'Command name, as in the kernel header, or a number.' },
      device: { type: 'string', help: 'Device name, if the kernel reports it (5.11).', optional: true },
      process: { type: 'string', help: 'Name of the thread that waited for it.' },
      pid: { type: 'number', help: 'Process ID of that thread on the node.' },
      delaySeconds: { type: 'number', help: 'Duration of the command.' },
    },
  },
});

/** Kernel: include/uapi/linux/virtio_net.h, VIRTIO_NET_CTRL_* */
const CLASSES: ReadonlyMap<number, { readonly name: string; readonly commands: readonly string[] }> = new Map([
  [0, { name: 'rx', commands: ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] }],
  [1, { name: 'mac', commands: ['table_set', 'addr_set'] }],
  [2, { name: 'vlan', commands: ['add', 'del'] }],
  [3, { name: 'announce', commands: ['ack'] }],
  [4, { name: 'mq', commands: ['vq_pairs_set', 'rss_config', 'hash_config'] }],
  [5, { name: 'offloads', commands: ['set'] }],
  [6, { name: 'coalesce', commands: ['tx_set', 'rx_set', 'vq_set', 'vq_get'] }],
  [8, { name: 'stats', commands: ['query', 'get'] }],
]);

const MODULE = 'virtio_net';

function choice(
  kinds: readonly ['fentry', 'fexit'] | readonly ['kprobe', 'kretprobe'],
  name: string,
  args: number,
): HookChoice<Layout['program']> {
  const [begin, end] = kinds;
  const program = name === 'virtnet_send_command' ? 'command' : 'command_reply';
  const suffixes = { fentry: 'entry', fexit: 'exit', kprobe: 'probe', kretprobe: 'return' } as const;
  return {
    hooks: [
      hook(`${end}/${name}`, args, `${program}_${suffixes[end]}`, MODULE),
      hook(`${begin}/${name}`, args, `${program}_${suffixes[begin]}`, MODULE),
    ],
  };
}

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'control commands of virtio-net',
      // Since 6.8, the function with a reply parameter does the work, and the other function is inlined into its
      // callers.
      choices: [
        choice(['fentry', 'fexit'], 'virtnet_send_command_reply', 5),
        choice(['fentry', 'fexit'], 'virtnet_send_command', 4),
        choice(['kprobe', 'kretprobe'], 'virtnet_send_command_reply', 5),
        choice(['kprobe', 'kretprobe'], 'virtnet_send_command', 4),
      ],
    },
  ],
};

function decodeEvent(view: DataView, at: number, timeNs: bigint): EventBody<(typeof events)['virtio_command_slow']> {
  const delayNs = Number(virtioEvent.delay(view, at));
  const number = { class: virtioEvent.class(view, at), command: virtioEvent.command(view, at) };
  const known = CLASSES.get(number.class);
  const name = known?.name ?? String(number.class);
  const command = known?.commands[number.command] ?? String(number.command);
  const device = virtioEvent.device(view, at);
  const process = virtioEvent.process(view, at);
  const pid = virtioEvent.pid(view, at);
  return {
    timeNs,
    netns: NODE,
    fields: { class: name, command, ...(device === '' ? {} : { device }), process, pid, delaySeconds: delayNs / 1e9 },
    message: `The hypervisor took ${formatDuration(delayNs)} for the command ${name} ${command} of ${device === '' ? 'a virtio-net device' : device}; ${process} (pid ${pid}) waited for it.`,
  };
}

export const virtcmdlatency = defineProbe({
  name: 'virtcmdlatency',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: false,
  summary:
    'Time that the hypervisor takes to execute control commands of virtio-net devices. Useful for virtual machines that stall while their network is configured.',
  guide: {
    question: 'Does the node wait for the hypervisor while it configures the network?',
    when: 'Enable it on a virtual machine that stalls when Pods start or end, or when devices are changed.',
    query: 'histogram_quantile(0.99, sum by (le, node) (rate(netsonde_virtio_command_seconds_bucket[5m]))) > 0.01',
    limits: [
      'Only control commands of virtio-net are measured, not packets.',
      'The probe hooks kernel functions, which kernels in lockdown mode do not allow.',
    ],
  },
  metrics,
  events,
  options: {
    threshold: duration('10ms').describe('Minimum duration of a command that causes an event.'),
    buckets: bucketsOption('1us', '1s'),
  },
  inPlace: LATENCY_SETTINGS,
  hooks,
  maps: { virtio_histograms: 'fixed', virtio_commands: 'device' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF, ring buffers (5.8), and fentry or kprobes; the driver virtio_net.',
    module: 'virtio_net',
  },
  measured: { note: 'Not measured because control commands are rare.' },
  open: async (scope, sources, settings) => {
    const { histograms, running, shown } = await openLatencies<Layout, undefined>(
      scope,
      sources,
      settings,
      {
        hooks,
        constants: { threshold: settings.options.threshold, node_netns: sources.netns.node?.id ?? 0 },
        sizes: { events: 64 * 1024 },
        events: {
          recordBytesMax: virtioEvent.SIZE,
          onRecord: (view, at, wallNs) =>
            scope.publish('virtio_command_slow', decodeEvent(view, at, wallNs(virtioEvent.time(view, at)))),
        },
      },
      { name: 'virtio_histograms', decodeKey: () => undefined, isByNetns: false },
      1,
    );
    return {
      ...running,
      collect: async (emit) => {
        for (const { histograms: all } of histograms.rows()) {
          for (const histogram of all) {
            if (!isEmpty(histogram)) emit('delay', NODE, histogramValue(histogram, shown()), NO_LABELS);
          }
        }
      },
    };
  },
});
