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
import {
  decodeProcess,
  decodeTuple,
  fragmentConstants,
  isLaterFragment,
  PROCESS_FIELDS,
  processConstants,
} from '#probe/scene.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { describeDrop } from './drop_hints.ts';
import { DropReasons } from './drop_reasons.ts';
import { DISCARD_CLASSES, lossRules, subsystemRules } from './loss_rules.ts';

// Namespaced: yes. A packet is in the namespace of its device, or else of its socket; both carry the cookie.

const REASON = {
  help: 'Reason of the drop, as the running kernel names it.',
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
      class: { help: 'Class of the discard: why the packet is no loss.', values: DISCARD_CLASSES },
    },
    name: 'netsonde_packet_discards_total',
    help: 'Packets that the kernel freed unused without a loss, by class.',
    source: 'skb:kfree_skb, map counts',
    detail: 'core',
  },
});

const events = defineEvents({
  packet_drop: {
    help: 'The kernel dropped a packet.',
    severity: 'warning',
    equalBy: ['reason', 'symbol', 'device'],
    fields: {
      reason: { type: 'string', help: 'Reason of the drop, as the running kernel names it.' },
      hint: { type: 'string', help: 'Advice on what to check, in plain words.' },
      symbol: {
        type: 'string',
        help: 'Place in the kernel: function, offset and size, and its module where it is in one.',
        optional: true,
      },
      length: { type: 'number', help: 'Bytes of the packet.' },
      device: { type: 'string', help: 'Device that the packet was on.', optional: true },
      ...PROCESS_FIELDS,
      stack: { type: 'strings', help: 'Call stack, the innermost function first; with `stack: true`.', optional: true },
    },
  },
});

type DropEvent = EventBody<(typeof events)['packet_drop']>;
type DropEmit = Emit<typeof metrics>;

/** Number of arguments of the tracepoint since 6.11, which added the receiving socket. */
const RECEIVER_ARGUMENTS = 4;

const UDP_FULL = hook('tp_btf/udp_fail_queue_rcv_skb', 2, 'packet_drop_udp');

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'dropped packets',
      choices: [
        // The receiving socket was added in 6.11, the reason in 5.17. Without the socket, a second tracepoint shows whose buffer was full.
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

/** Returns the symbols where the kernel does not print them itself (before 5.13), and the agent has to; undefined where it does. */
function openSymbols(bpf: BpfSource, proc: string): KernelSymbols | undefined {
  return bpf.hasHelper('snprintf') ? undefined : new KernelSymbols(proc);
}

interface Decoding {
  readonly reasons: DropReasons;
  readonly symbols: KernelSymbols | undefined;
  readonly withStack: boolean;
}

/** Decodes the event of the record at `at`. */
function decodeEvent(view: DataView, at: number, timeNs: bigint, decoding: Decoding): DropEvent {
  const { reasons, symbols, withStack } = decoding;
  const reason = reasons.name(packetDropEvent.reason(view, at));
  const symbol = packetDropEvent.symbol(view, at) || (symbols?.describe(packetDropEvent.location(view, at)) ?? '');
  const length = packetDropEvent.length(view, at);
  const device = packetDropEvent.device(view, at);
  const tuple = decodeTuple(view, at + packetDropEvent.offsets.tuple);
  const { what, hint } = describeDrop(reason, symbol);
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
      ...decodeProcess(view, at + packetDropEvent.offsets.process),
      ...(withStack ? { stack: decodeStack(view, at, symbol, symbols) } : {}),
    },
    message: `The kernel dropped a ${part}packet of ${length} bytes (${tuple.protocol}${path}): ${reason}${symbol === '' ? '' : ` in ${symbol}`}. ${what}`,
  };
}

/** Decodes the stack. It begins in our own program; frames above the drop are left out. */
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
    'Packets that the kernel drops, per Pod and by reason, with an event for each that shows the scene. Always worth having.',
  guide: {
    question: 'Which packets does the kernel drop, and why?',
    when: "Look here for each timeout: the reason is the kernel's own. Switch on `stack` where the function alone does not explain the drop.",
    query: 'topk(10, sum by (node, namespace, pod, reason) (rate(netsonde_packet_drops_total[5m])))',
    limits: [
      'Only packets that this kernel drops are counted, not those lost on the wire, in a switch, or in the device before the kernel has them.',
      'A packet counts as lost where a rule or a program decided to drop it, where a resource ran out, or where a packet for this host alone asked for something and was not served: a SYN, a datagram, an echo request. All other packets that the kernel frees unused are in `netsonde_packet_discards_total` and have no event.',
      'Kernels before 5.17 give no reasons, and kernels before 6.11 do not report the receiving socket: packets for which the rule cannot decide there are in the class `unclassified`.',
      'A packet that has left its device and has no socket counts for the node. Incomplete fragments count for the node too where the CPU of their timer is idle: since Linux 6.9 another CPU runs the timer.',
      'Drops of one Pod beyond `limit` per second are counted, and have no event.',
      'A Pod has room for 48 rows, by namespace and reason; drops beyond them are counted under the reason `other`. Drops in namespaces that are not listed (yet) are counted under the pod `unlisted`.',
    ],
  },
  metrics,
  events,
  options: {
    stack: z
      .boolean()
      .default(false)
      .describe(
        'Put the kernel call stack into each event. This costs some 8 µs per event; an event without it costs 1.5 µs.',
      ),
    noLoss: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'a reason as the kernel names it, like TCP_OLD_DATA'))
      .default([])
      .describe(
        'Reasons that are no loss here, in addition to those of the rule. Their packets are counted as discards of the class `configured`.',
      ),
  },
  hooks,
  maps: { waiting_drops: 'fixed' },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Reasons since 5.17; before, every drop has the reason `unknown`.',
  },
  measured: { collect: { ms: 0.05 }, programs: { ns: { 'tp_btf/kfree_skb': '95' } } },
  open: async (scope, sources, settings) => {
    const reasons = new DropReasons(sources.bpf);
    const { stack, noLoss } = settings.options;
    const symbols = openSymbols(sources.bpf, scope.paths.proc);
    const decoding = { reasons, symbols, withStack: stack };
    const btf = sources.bpf.btf();
    const notSpecified = reasons.number('NOT_SPECIFIED');
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      restKey: (rest) =>
        rest === dropRest.lost
          ? { reason: ANY_REASON, side: dropSide.lost }
          : { reason: rest - dropRest.discarded, side: dropSide.discarded },
      constants: {
        ...processConstants(btf),
        ...fragmentConstants(btf),
        with_stack: stack,
        node_netns: sources.netns.node?.id ?? 0,
        not_specified: notSpecified ?? 0,
        has_reasons: notSpecified !== undefined,
        waits_for_udp: btf.tracepointArguments('kfree_skb') !== RECEIVER_ARGUMENTS,
        receive_buffer: reasons.number('SOCKET_RCVBUFF') ?? 0,
        protocol_memory: reasons.number('PROTO_MEM') ?? 0,
        rules: lossRules(reasons, noLoss),
        subsystem_rules: subsystemRules(reasons),
      },
      events: {
        recordBytesMax: packetDropStackEvent.SIZE,
        onRecord: (view, at, wallNs) => {
          const timeNs = wallNs(packetDropEvent.time(view, at));
          scope.publish('packet_drop', decodeEvent(view, at, timeNs, decoding));
        },
      },
    });
    return {
      ...instance.running(),
      collect: async (emit) => emitCounts(emit, instance.tally.rows(), reasons),
    };
  },
});
