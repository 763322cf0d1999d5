import * as z from 'zod';
import { formatEndpoint } from '../address.ts';
import {
  type Constant,
  FILE,
  packetDropCount,
  packetDropEvent,
  packetDropKey,
  packetDropStackEvent,
} from '../bpf/generated/packetloss.ts';
import { addCounters, type Counter } from '../counter.ts';
import { ethertypeName, hasPorts, ipProtocolName } from '../protocol.ts';
import { DropReasons } from './drop_reasons.ts';
import { type EbpfInstance, openEbpf, sumPerCpu } from './ebpf.ts';
import { defineEvents, type EventBody } from './event.ts';
import { asNetnsId, defineMetrics, type Emit, type NetnsId, NODE } from './metric.ts';
import { defineProbe, Unsupported } from './probe.ts';

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
    source: 'skb:kfree_skb, map packet_drops',
    detail: 'core',
  },
  bytes: {
    ...counter,
    name: 'netsonde_packet_drops_bytes_total',
    unit: 'bytes',
    help: 'Bytes of the packets that the kernel dropped, by reason.',
    source: 'skb:kfree_skb, map packet_drops',
    detail: 'full',
  },
  ignored: {
    ...counter,
    name: 'netsonde_packet_drops_ignored_total',
    help: 'Packets that the kernel freed for a reason that is no loss by configuration.',
    source: 'skb:kfree_skb, map packet_drops',
    detail: 'full',
  },
  uncounted: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_packet_drops_uncounted_total',
    help: 'Dropped packets that are in no other count.',
    source: 'skb:kfree_skb, map packet_drop_misses',
    detail: 'core',
    labels: {
      cause: {
        help: 'map_full: more namespaces and reasons than the map holds; no_netns: a packet without device and socket.',
        values: ['map_full', 'no_netns'],
      },
    },
  },
});

const events = defineEvents({
  packet_drop: {
    help: 'The kernel dropped a packet.',
    severity: 'warning',
    fields: {
      reason: { type: 'string', help: 'Why, in the name that the running kernel gives the reason.' },
      symbol: {
        type: 'string',
        help: 'Where in the kernel: function, offset and size, and the module if it is in one.',
      },
      length: { type: 'number', help: 'Bytes of the packet.' },
      device: { type: 'string', help: 'Device that the packet was on.', optional: true },
      stack: { type: 'strings', help: 'Call stack, the innermost function first; with `stack: true`.', optional: true },
    },
  },
});

type DropEvent = EventBody<(typeof events)['packet_drop']>;
type DropEmit = Emit<typeof metrics>;

/** Data received twice, and buffers that go with their socket: the kernel frees them, but nobody misses them. */
const NO_LOSS_DEFAULT = ['CONSUMED', 'SOCKET_CLOSE', 'TCP_OLD_DATA', 'TCP_OLD_SEQUENCE', 'QUEUE_PURGE', 'TCP_RESET'];

/** Functions that free what nobody misses without giving a reason: queues of closed sockets, multicast that nobody joined. */
const NO_LOSS_FUNCTIONS_DEFAULT = [
  'ip6_mc_input',
  'nfnetlink_rcv_batch',
  'skb_queue_purge',
  'sk_stream_kill_queues',
  'unix_release_sock',
];
/** Room in the kernel program. */
const FUNCTIONS_MAX = 16;
const FUNCTION_BYTES = 32;

/** The kernel's array of flags; reasons of subsystems are above it. */
const REASON_FLAGS = 256;

/** The program for each number of arguments that the tracepoint has had. */
const PROGRAMS = new Map([
  [4, 'packet_drop_socket'],
  [3, 'packet_drop_reason'],
  [2, 'packet_drop'],
]);
const ARGUMENTS_MAX = 4;

function chooseProgram(args: number | undefined): string {
  if (args === undefined) throw new Unsupported('this kernel has no tracepoint skb:kfree_skb in its BTF');
  // A program may take fewer arguments than there are.
  const program = PROGRAMS.get(Math.min(args, ARGUMENTS_MAX));
  if (program === undefined) throw new Unsupported(`the tracepoint skb:kfree_skb has ${args} arguments`);
  return program;
}

function noLossFlags(reasons: DropReasons, names: readonly string[]): Uint8Array {
  const flags = new Uint8Array(REASON_FLAGS);
  for (const name of names) {
    const reason = reasons.number(name);
    if (reason !== undefined && reason < REASON_FLAGS) flags[reason] = 1;
  }
  return flags;
}

function noLossFunctions(names: readonly string[]): Uint8Array {
  const table = Buffer.alloc(FUNCTIONS_MAX * FUNCTION_BYTES);
  for (const [index, name] of names.entries()) table.write(name, index * FUNCTION_BYTES, 'latin1');
  return table;
}

/** The event of the record at `at`. */
function decodeEvent(view: DataView, at: number, reasons: DropReasons, timeNs: bigint, withStack: boolean): DropEvent {
  const reason = reasons.name(packetDropEvent.reason(view, at));
  const symbol = packetDropEvent.symbol(view, at);
  const length = packetDropEvent.length(view, at);
  const device = packetDropEvent.device(view, at);
  const { src, dst, protocol } = decodeTuple(view, at);
  const from = src === undefined ? '' : ` from ${src} to ${dst}`;
  return {
    timeNs,
    netns: asNetnsId(packetDropEvent.netns(view, at)),
    ...(src === undefined || dst === undefined ? {} : { src, dst }),
    protocol,
    fields: {
      reason,
      symbol,
      length,
      ...(device === '' ? {} : { device }),
      ...(withStack ? { stack: decodeStack(view, at, symbol) } : {}),
    },
    message: `The kernel dropped a ${protocol} packet of ${length} bytes${from}: ${reason} in ${symbol}.`,
  };
}

function decodeTuple(view: DataView, at: number): { src?: string; dst?: string; protocol: string } {
  if (packetDropEvent.tupleFamily(view, at) === 0)
    return { protocol: ethertypeName(packetDropEvent.tupleEthertype(view, at)) };
  const protocol = ipProtocolName(packetDropEvent.tupleProtocol(view, at));
  const port = (number: number) => (hasPorts(protocol) ? number : undefined);
  return {
    src: formatEndpoint(packetDropEvent.tupleSource(view, at), port(packetDropEvent.tupleSourcePort(view, at))),
    dst: formatEndpoint(
      packetDropEvent.tupleDestination(view, at),
      port(packetDropEvent.tupleDestinationPort(view, at)),
    ),
    protocol,
  };
}

/** The stack begins in our own program; what is above the drop is left out. */
function decodeStack(view: DataView, at: number, symbol: string): string[] {
  const count = Math.min(Number(packetDropStackEvent.frames(view, at)), packetDropStackEvent.symbolsCount);
  const frames = Array.from({ length: count }, (_, index) => packetDropStackEvent.symbols(view, at, index));
  return frames.slice(Math.max(0, frames.indexOf(symbol)));
}

interface DropRow {
  readonly netns: NetnsId;
  readonly reason: number;
  readonly ignored: boolean;
  readonly packets: Counter;
  readonly bytes: Counter;
}

interface Counts {
  readonly rows: readonly DropRow[];
  readonly mapFull: Counter;
  readonly noNetns: Counter;
}

const NONE: Counts = { rows: [], mapFull: 0, noNetns: 0 };

/** struct packet_drop_misses: map_full, no_netns. */
const MISS_FIELDS = 2;

function keyOf({ netns, reason, ignored }: DropRow): string {
  return `${netns}/${reason}/${ignored ? 'ignored' : 'lost'}`;
}

function addRows(rows: readonly DropRow[], more: readonly DropRow[]): DropRow[] {
  const sums = new Map(rows.map((row) => [keyOf(row), row]));
  for (const row of more) {
    const key = keyOf(row);
    const sum = sums.get(key);
    sums.set(
      key,
      sum === undefined
        ? row
        : { ...row, packets: addCounters(sum.packets, row.packets), bytes: addCounters(sum.bytes, row.bytes) },
    );
  }
  return [...sums.values()];
}

/** What the kernel's maps show, and what earlier runs of the probe had counted. */
function readCounts({ object }: EbpfInstance, earlier: Counts): Counts {
  const { count, view, keyAt, valueAt } = object.map('packet_drops').dump();
  const rows = Array.from({ length: count }, (_, index) => ({
    netns: asNetnsId(packetDropKey.netns(view, keyAt(index))),
    reason: packetDropKey.reason(view, keyAt(index)),
    ignored: packetDropKey.ignored(view, keyAt(index)) !== 0,
    packets: packetDropCount.packets(view, valueAt(index)),
    bytes: packetDropCount.bytes(view, valueAt(index)),
  }));
  const [mapFull = 0, noNetns = 0] = sumPerCpu(object, 'packet_drop_misses', MISS_FIELDS);
  return {
    rows: earlier.rows.length === 0 ? rows : addRows(rows, earlier.rows),
    mapFull: addCounters(mapFull, earlier.mapFull),
    noNetns: addCounters(noNetns, earlier.noNetns),
  };
}

/** Namespaces that are dead make room for new ones. */
function sweep({ object }: EbpfInstance, isDead: (id: NetnsId) => boolean): void {
  const map = object.map('packet_drops');
  const { count, view, keyAt } = map.dump();
  for (let index = 0; index < count; index++) {
    const at = keyAt(index);
    if (!isDead(asNetnsId(packetDropKey.netns(view, at)))) continue;
    map.delete(new Uint8Array(view.buffer.slice(at, at + packetDropKey.SIZE)));
  }
}

function emitCounts(emit: DropEmit, { rows, mapFull, noNetns }: Counts, reasons: DropReasons): void {
  for (const { netns, reason, ignored, packets, bytes } of rows) {
    const labels = { reason: reasons.name(reason) };
    if (ignored) {
      emit('ignored', netns, packets, labels);
    } else {
      emit('drops', netns, packets, labels);
      emit('bytes', netns, bytes, labels);
    }
  }
  emit('uncounted', NODE, mapFull, { cause: 'map_full' });
  emit('uncounted', NODE, noNetns, { cause: 'no_netns' });
}

export const packetloss = defineProbe({
  name: 'packetloss',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Packets that the kernel drops, per Pod and by reason, with an event for each that shows the scene. Always worth having.',
  metrics,
  events,
  options: {
    stack: z
      .boolean()
      .default(false)
      .describe('Put the kernel call stack into each event: some microseconds more for each.'),
    noLoss: z
      .array(z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'a reason in the name that the kernel gives it, like TCP_OLD_DATA'))
      .default(NO_LOSS_DEFAULT)
      .describe('Reasons that are no loss: counted apart, without events.'),
    noLossFunctions: z
      .array(z.string().regex(/^[a-z_][a-z0-9_]{0,30}$/i, 'the name of a kernel function, at most 31 characters'))
      .max(FUNCTIONS_MAX)
      .default(NO_LOSS_FUNCTIONS_DEFAULT)
      .describe('Kernel functions whose drops are no loss where the kernel gives no reason (NOT_SPECIFIED).'),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'BTF and ring buffers (5.8). Reasons since 5.17; before, every drop is NOT_SPECIFIED.',
  },
  open: async (scope, sources, settings) => {
    const btf = sources.bpf.btf();
    const reasons = new DropReasons(btf);
    const program = chooseProgram(btf.tracepointArguments('kfree_skb'));
    const earlier = sources.memories.of<Counts>('packetloss');
    const { stack, noLoss, noLossFunctions: functions } = settings.options;
    const instance = await openEbpf<Constant>(
      scope,
      sources,
      settings,
      {
        probe: 'packetloss',
        object: {
          file: FILE,
          programs: [program],
          constants: {
            with_stack: stack,
            no_loss: noLossFlags(reasons, noLoss),
            no_loss_functions: noLossFunctions(functions),
          },
        },
        events: {
          recordBytesMax: packetDropStackEvent.SIZE,
          onRecord: (view, at, wallNs) => {
            const timeNs = wallNs(packetDropEvent.time(view, at));
            scope.publish('packet_drop', decodeEvent(view, at, reasons, timeNs, stack));
          },
        },
      },
      (closing) => {
        earlier.value = readCounts(closing, earlier.value ?? NONE);
      },
    );
    scope.own(
      sources.netns.onSweep((isDead) => {
        sweep(instance, isDead);
        const { value } = earlier;
        if (value !== undefined) earlier.value = { ...value, rows: value.rows.filter(({ netns }) => !isDead(netns)) };
      }),
    );
    const hook = instance.programs()[0]?.hook ?? '';
    return {
      health: () => ({
        reader: hook,
        degraded: reasons.known ? [] : ['this kernel gives no reasons for drops (they came with 5.17)'],
      }),
      collect: async (emit) => emitCounts(emit, readCounts(instance, earlier.value ?? NONE), reasons),
      programs: () => instance.programs(),
      mapBytes: () => instance.mapBytes(sources.paths.proc),
      ledger: () => instance.ledger(),
    };
  },
});
