import * as z from 'zod';
import {
  dropLimit,
  dropSide,
  FILE,
  type Layout,
  packetDropEvent,
  packetDropStackEvent,
} from '#bpf/generated/packetloss.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import type { CountRow } from '#probe/counts.ts';
import { openEbpf } from '#probe/ebpf.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics, type Emit } from '#probe/metric.ts';
import { decodeProcess, decodeTuple, PROCESS_FIELDS, processConstants } from '#probe/scene.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { describeReason } from './drop_hints.ts';
import { DropReasons } from './drop_reasons.ts';

// Namespaced: yes. A packet is in the namespace of its device, else of its socket; both carry the cookie.

const REASON = {
  help: 'Why, in the name that the running kernel gives the reason.',
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
  ignored: {
    ...counter,
    name: 'netsonde_packet_drops_ignored_total',
    help: 'Packets that the kernel freed for a reason that is no loss by configuration.',
    source: 'skb:kfree_skb, map counts',
    detail: 'full',
  },
});

const events = defineEvents({
  packet_drop: {
    help: 'The kernel dropped a packet.',
    severity: 'warning',
    equalBy: ['reason', 'symbol', 'device'],
    fields: {
      reason: { type: 'string', help: 'Why, in the name that the running kernel gives the reason.' },
      hint: { type: 'string', help: 'What to check, in plain words.' },
      symbol: {
        type: 'string',
        help: 'Where in the kernel: function, offset and size, and the module if it is in one.',
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

/** Data received twice, and buffers that go with their socket: the kernel frees them, but nobody misses them. */
const NO_LOSS_DEFAULT = ['CONSUMED', 'SOCKET_CLOSE', 'TCP_OLD_DATA', 'TCP_OLD_SEQUENCE', 'QUEUE_PURGE', 'TCP_RESET'];

/**
 * Functions that free what nobody misses without giving a reason: queues of closed sockets, multicast that nobody joined, and before 6.4 errors
 * of ICMPv6 that were taken note of.
 */
const NO_LOSS_FUNCTIONS_DEFAULT = [
  'icmpv6_rcv',
  'ip6_mc_input',
  'nfnetlink_rcv_batch',
  'skb_queue_purge',
  'sk_stream_kill_queues',
  'unix_release_sock',
];
/** The name of a function, as long as the program has room for. */
const FUNCTION = new RegExp(`^[a-z_][a-z0-9_]{0,${dropLimit.function_length - 2}}$`, 'i');

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'dropped packets',
      choices: [
        // The receiving socket came with 6.11, the reason with 5.17.
        { hooks: [hook('tp_btf/kfree_skb', 4, 'packet_drop_socket')] },
        { hooks: [hook('tp_btf/kfree_skb', 3, 'packet_drop_reason')] },
        {
          hooks: [hook('tp_btf/kfree_skb', 2, 'packet_drop')],
          lacks: 'this kernel gives no reasons for drops (they came with 5.17)',
        },
      ],
    },
  ],
};

function noLossFlags(reasons: DropReasons, names: readonly string[]): Uint8Array {
  const flags = new Uint8Array(dropLimit.reasons);
  for (const name of names) {
    const reason = reasons.number(name);
    if (reason !== undefined && reason < dropLimit.reasons) flags[reason] = 1;
  }
  return flags;
}

function noLossFunctions(names: readonly string[]): Uint8Array {
  const table = Buffer.alloc(dropLimit.functions * dropLimit.function_length);
  for (const [index, name] of names.entries()) table.write(name, index * dropLimit.function_length, 'latin1');
  return table;
}

/** Where the kernel does not print symbols itself (before 5.13), and the agent has to; undefined where it does. */
function openSymbols(bpf: BpfSource, proc: string): KernelSymbols | undefined {
  return bpf.hasHelper('snprintf') ? undefined : new KernelSymbols(proc);
}

/** The constant of the program: from and up to, each, as far as there is room. */
function noLossPlaces(symbols: KernelSymbols | undefined, functions: readonly string[]): Uint8Array {
  const places = new BigUint64Array(2 * dropLimit.places);
  for (const [index, range] of (symbols?.ranges(functions) ?? []).slice(0, dropLimit.places).entries()) {
    places.set(range, 2 * index);
  }
  return new Uint8Array(places.buffer);
}

interface Decoding {
  readonly reasons: DropReasons;
  readonly symbols: KernelSymbols | undefined;
  readonly withStack: boolean;
}

/** The event of the record at `at`. */
function decodeEvent(view: DataView, at: number, timeNs: bigint, decoding: Decoding): DropEvent {
  const { reasons, symbols, withStack } = decoding;
  const reason = reasons.name(packetDropEvent.reason(view, at));
  const symbol = packetDropEvent.symbol(view, at) || (symbols?.describe(packetDropEvent.location(view, at)) ?? '');
  const length = packetDropEvent.length(view, at);
  const device = packetDropEvent.device(view, at);
  const tuple = decodeTuple(view, at + packetDropEvent.offsets.tuple);
  const { what, hint } = describeReason(reason);
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
    message: `The kernel dropped a ${tuple.protocol} packet of ${length} bytes${path}: ${reason}${symbol === '' ? '' : ` in ${symbol}`}. ${what}`,
  };
}

/** The stack begins in our own program; what is above the drop is left out. */
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
    const labels = { reason: reasons.name(reason) };
    if (side === dropSide.ignored) {
      emit('ignored', netns, count, labels);
    } else {
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
    when: "Look here for each timeout: the reason is the kernel's own. Switch on `stack` where the function alone does not tell.",
    query: 'topk(10, sum by (node, namespace, pod, reason) (rate(netsonde_packet_drops_total[5m])))',
    limits: [
      'Only what this kernel drops: not what is lost on the wire, in a switch, or in the device before the kernel has it.',
      'A packet that is freed early without being lost is left out by `noLoss`, multicast that nobody has joined by `noLossMulticast`; what counts as a loss differs a little from kernel to kernel.',
      'More than `limit` drops a second of one namespace are counted, and have no event.',
    ],
  },
  metrics,
  events,
  options: {
    stack: z
      .boolean()
      .default(false)
      .describe('Put the kernel call stack into each event: some 8 µs more for each, where one without takes 1.5 µs.'),
    noLoss: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'a reason in the name that the kernel gives it, like TCP_OLD_DATA'))
      .default(NO_LOSS_DEFAULT)
      .describe('Reasons that are no loss: counted apart, without events.'),
    noLossFunctions: z
      .array(
        z
          .string()
          .regex(FUNCTION, `the name of a kernel function, at most ${dropLimit.function_length - 1} characters`),
      )
      .max(dropLimit.functions)
      .default(NO_LOSS_FUNCTIONS_DEFAULT)
      .describe('Kernel functions whose drops are no loss where the kernel gives no reason (NOT_SPECIFIED).'),
    noLossMulticast: z
      .boolean()
      .default(true)
      .describe(
        'Multicast that finds no route or is dropped for no reason that the kernel gives is no loss: nobody here has joined the group.',
      ),
  },
  hooks,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Reasons since 5.17; before, every drop is NOT_SPECIFIED.',
  },
  open: async (scope, sources, settings) => {
    const reasons = new DropReasons(sources.bpf);
    const { stack, noLoss, noLossFunctions: functions, noLossMulticast } = settings.options;
    const notSpecified = reasons.number('NOT_SPECIFIED');
    const symbols = openSymbols(sources.bpf, scope.paths.proc);
    const decoding = { reasons, symbols, withStack: stack };
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      constants: {
        ...processConstants(sources.bpf.btf()),
        with_stack: stack,
        not_specified: notSpecified ?? 0,
        // Where no drop has a reason, that says nothing.
        no_loss_multicast: noLossMulticast && notSpecified !== undefined,
        no_route: reasons.number('IP_INNOROUTES') ?? notSpecified ?? 0,
        no_loss: noLossFlags(reasons, noLoss),
        no_loss_functions: noLossFunctions(functions),
        no_loss_places: noLossPlaces(symbols, functions),
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
