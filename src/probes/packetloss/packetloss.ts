import * as z from 'zod';
import {
  dropRest,
  dropSide,
  FILE,
  type Layout,
  packetDropEvent,
  packetDropStackEvent,
} from '#bpf/generated/packetloss.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { ANY_REASON, type CountRow, OTHER_REASONS } from '#probe/counts.ts';
import { openEbpf } from '#probe/ebpf.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics, type Emit } from '#probe/metric.ts';
import { decodeProcess, decodeTuple, isLaterFragment, PROCESS_FIELDS } from '#probe/scene.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { dropConstants, RECEIVER_ARGUMENTS } from './drop_constants.ts';
import { describeDrop } from './drop_hints.ts';
import { DropReasons } from './drop_reasons.ts';
import { DISCARD_CLASSES, lossRules } from './loss_rules.ts';
import { decodeTracked, TRACKED_FIELDS } from './tracked.ts';
import { decodeTunnel, describeTunnel, TUNNEL_FIELDS, TUNNEL_OPTIONS, tunnelSettings } from './tunnel.ts';

// These metrics are per network namespace. A packet belongs to the namespace of its device or, if it has none, of its
// socket. Both carry the cookie of the namespace.

const REASON = {
  help: 'Drop reason, as named by the running kernel.',
  example: 'NETFILTER_DROP',
  max: 256,
} as const;

const counter = { type: 'counter', scope: 'pod', labels: { reason: REASON } } as const;

const metrics = defineMetrics({
  drops: {
    ...counter,
    name: 'netsonde_packet_drops_total',
    help: 'Packets that the kernel dropped, by reason.',
    source: 'skb:kfree_skb, map counts',
    detail: 'core',
  },
  bytes: {
    ...counter,
    name: 'netsonde_packet_drops_bytes_total',
    unit: 'bytes',
    help: 'Bytes of the packets that the kernel dropped, by reason.',
    source: 'skb:kfree_skb, map counts',
    detail: 'full',
  },
  discards: {
    type: 'counter',
    scope: 'pod',
    labels: {
      class: {
        help: 'Discard class, which says why the packet is not considered lost.',
        values: DISCARD_CLASSES,
      },
    },
    name: 'netsonde_packet_discards_total',
    help: 'Packets that the kernel discarded without loss, by class.',
    source: 'skb:kfree_skb, map counts',
    detail: 'core',
  },
});

const events = defineEvents({
  packet_drop: {
    help: 'The kernel dropped a packet.',
    severity: 'warning',
    equalBy: ['reason', 'symbol', 'device', 'tunnel', 'tunnelId'],
    fields: {
      reason: { type: 'string', help: 'Drop reason, as named by the running kernel.' },
      hint: { type: 'string', help: 'Advice on what to check.' },
      symbol: {
        type: 'string',
        help: 'Location in the kernel: function, offset, size and module, if any.',
        optional: true,
      },
      length: { type: 'number', help: 'Packet length in bytes.' },
      device: { type: 'string', help: 'Network device of the packet.', optional: true },
      ...TUNNEL_FIELDS,
      ...TRACKED_FIELDS,
      ...PROCESS_FIELDS,
      stack: {
        type: 'strings',
        help: 'Call stack with the innermost function first. Requires `stack: true`.',
        optional: true,
      },
    },
  },
});

type DropEvent = EventBody<(typeof events)['packet_drop']>;
type DropEmit = Emit<typeof metrics>;

const UDP_FULL = hook('tp_btf/udp_fail_queue_rcv_skb', 2, 'packet_drop_udp');

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'dropped packets',
      choices: [
        // The reason was added in 5.17, and the receiving socket in 6.11. Without the socket, a second tracepoint
        // identifies the socket whose buffer was full.
        { hooks: [hook('tp_btf/kfree_skb', RECEIVER_ARGUMENTS, 'packet_drop_socket')] },
        { hooks: [hook('tp_btf/kfree_skb', 3, 'packet_drop_reason'), UDP_FULL] },
        {
          hooks: [hook('tp_btf/kfree_skb', 2, 'packet_drop'), UDP_FULL],
          lacks: 'this kernel gives no reasons for drops (added in 5.17)',
        },
      ],
    },
  ],
};

/** Returns the kernel's symbols; undefined if BPF programs can print them themselves (since 5.13). */
function openSymbols(bpf: BpfSource, proc: string): KernelSymbols | undefined {
  return bpf.hasHelper('snprintf') ? undefined : new KernelSymbols(proc);
}

interface Decoding {
  readonly reasons: DropReasons;
  readonly symbols: KernelSymbols | undefined;
  readonly withStack: boolean;
}

/** Decodes the event from the ring record at the offset `at`. */
function decodeEvent(view: DataView, at: number, timeNs: bigint, decoding: Decoding): DropEvent {
  const { reasons, symbols, withStack } = decoding;
  const reason = reasons.name(packetDropEvent.reason(view, at));
  const symbol = packetDropEvent.symbol(view, at) || (symbols?.describe(packetDropEvent.location(view, at)) ?? '');
  const length = packetDropEvent.length(view, at);
  const device = packetDropEvent.device(view, at);
  const tuple = decodeTuple(view, at + packetDropEvent.offsets.tuple);
  const { what, hint } = describeDrop(reason, symbol);
  const tunnel = decodeTunnel(view, at + packetDropEvent.offsets.tunnel);
  const part = isLaterFragment(view, at + packetDropEvent.offsets.tuple) ? 'fragment of a ' : '';
  const path = tuple.src === undefined ? '' : ` from ${tuple.src} to ${tuple.dst}`;
  return {
    timeNs,
    netns: asNetnsId(packetDropEvent.netns(view, at)),
    ...tuple,
    fields: {
      reason,
      hint,
      ...(symbol === '' ? {} : { symbol }),
      length,
      ...(device === '' ? {} : { device }),
      ...tunnel,
      // The node tracks the connection of the outer packet, which says nothing about the one in the tunnel.
      ...(tunnel.innerDst === undefined
        ? decodeTracked(view, at + packetDropEvent.offsets.connection, tuple.protocol)
        : {}),
      ...decodeProcess(view, at + packetDropEvent.offsets.process),
      ...(withStack ? { stack: decodeStack(view, at, symbol, symbols) } : {}),
    },
    message: `The kernel dropped a ${part}packet of ${length} bytes (${tuple.protocol}${path}${describeTunnel(tunnel)}): ${reason}${symbol === '' ? '' : ` in ${symbol}`}. ${what}`,
  };
}

/** Decodes the stack trace. Omits the frames above the drop, which belong to the BPF program itself. */
function decodeStack(view: DataView, at: number, symbol: string, symbols: KernelSymbols | undefined): string[] {
  const count = Math.min(Number(packetDropStackEvent.frames(view, at)), packetDropStackEvent.symbolsCount);
  const frames = Array.from({ length: count }, (_, index) => {
    const address = packetDropStackEvent.addresses(view, at, index);
    return packetDropStackEvent.symbols(view, at, index) || (symbols?.describe(address) ?? `0x${address.toString(16)}`);
  });
  return frames.slice(Math.max(0, frames.indexOf(symbol)));
}

function emitCounts(emit: DropEmit, rows: readonly CountRow[], reasons: DropReasons): void {
  for (const { netns, reason, side, count, bytes } of rows) {
    if (side === dropSide.discarded) {
      emit('discards', netns, count, { class: DISCARD_CLASSES[reason] ?? 'unclassified' });
    } else {
      const labels = { reason: reason === ANY_REASON ? OTHER_REASONS : reasons.name(reason) };
      emit('drops', netns, count, labels);
      emit('bytes', netns, bytes, labels);
    }
  }
}

export const packetloss = defineProbe({
  name: 'packetloss',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Packets that the kernel drops, per Pod and by reason, with a detailed event for each. Recommended everywhere.',
  guide: {
    question: 'Which packets does the kernel drop, and why?',
    when: 'Look here whenever there are timeouts, because the kernel itself reports why it dropped a packet. Enable `stack` if the function alone does not explain the drop.',
    query: 'topk(10, sum by (node, namespace, pod, reason) (rate(netsonde_packet_drops_total[5m])))',
    limits: [
      'Only packets that this kernel drops are counted. Packets lost on the wire, in a switch or in the device are not.',
      'A packet is considered lost if a rule or a program decided to drop it, if a resource was exhausted, or if it was an unserved request to this host only, such as a SYN, a datagram or an echo request. All other packets that the kernel discards are counted in `netsonde_packet_discards_total` and cause no event.',
      'Kernels before 5.17 give no reasons, and kernels before 6.11 do not report the receiving socket. Packets that cannot be classified for this reason have the class `unclassified`.',
      'A packet that has left its device and has no socket is attributed to the node, except for a lost TCP segment, whose route identifies the namespace. Since Linux 6.9, incomplete fragments are also attributed to the node if their CPU was idle, because their timer then runs on another CPU.',
      'Kernels before 5.17: a datagram that has left its device is counted when the same CPU frees its next packet, because a tracepoint that reports the receiving socket may follow the drop.',
      'The addresses in a tunnel are read from the linear part of a packet, up to the length in the IP header. An encrypted tunnel (WireGuard, IPsec) shows only its outer addresses. A packet that is dropped before encapsulation, or after decapsulation, shows its own addresses.',
      'Drops of a Pod above `limit` per second are counted but cause no event.',
      'A Pod may have 48 rows, each for one namespace and reason. Further drops are counted with the reason `other`. Drops in namespaces that are not listed, or not listed yet, are counted for the pod `unlisted`.',
    ],
  },
  metrics,
  events,
  options: {
    stack: z
      .boolean()
      .default(false)
      .describe('Add the kernel call stack to each event. An event then costs about 8 µs instead of 1.5 µs.'),
    ...TUNNEL_OPTIONS,
    noLoss: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'the name of a reason in the kernel, like TCP_OLD_DATA'))
      .default([])
      .describe(
        'Additional reasons that are not considered losses. Their packets are counted as discards of the class `configured`.',
      ),
  },
  inPlace: ['limit', 'tunnels', 'vxlanPorts', 'noLoss'],
  hooks,
  maps: { waiting_drops: 'fixed' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Before 5.17, every drop has the reason `unknown`.',
  },
  measured: { collect: { ms: 0.05 }, programs: { ns: { 'tp_btf/kfree_skb': '95' } } },
  open: async (scope, sources, settings) => {
    const reasons = new DropReasons(sources.bpf);
    const { stack, noLoss } = settings.options;
    const symbols = openSymbols(sources.bpf, scope.paths.proc);
    const decoding = { reasons, symbols, withStack: stack };
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      restKey: (rest) =>
        rest === dropRest.lost
          ? { reason: ANY_REASON, side: dropSide.lost }
          : { reason: rest - dropRest.discarded, side: dropSide.discarded },
      constants: {
        ...dropConstants(sources.bpf, reasons, noLoss),
        with_stack: stack,
        ...tunnelSettings(settings.options),
        node_netns: sources.netns.node?.id ?? 0,
      },
      events: {
        recordBytesMax: packetDropStackEvent.SIZE,
        onRecord: (view, at, wallNs) => {
          const timeNs = wallNs(packetDropEvent.time(view, at));
          scope.publish('packet_drop', decodeEvent(view, at, timeNs, decoding));
        },
      },
    });
    const running = instance.running();
    return {
      ...running,
      apply: (changed) => {
        const rules = lossRules(reasons, changed.options.noLoss);
        instance.set<Layout>({ rules, ...tunnelSettings(changed.options) });
        return running.apply(changed);
      },
      collect: async (emit) => emitCounts(emit, instance.tally.rows(), reasons),
    };
  },
});
