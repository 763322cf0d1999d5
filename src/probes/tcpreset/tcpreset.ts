import { FILE, type Layout, resetOutcome, resetScene, resetSide, tcpResetEvent } from '#bpf/generated/tcpreset.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { ANY_REASON, OTHER_REASONS } from '#probe/counts.ts';
import { openEbpf } from '#probe/ebpf.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeProcess, decodeTuple, PROCESS_FIELDS, processConstants, tcpStateName } from '#probe/scene.ts';
import { describeReset, ResetReasons, type ResetScene } from './reset_reasons.ts';

// These metrics are per network namespace. A socket carries the cookie of its namespace. If there is no socket, the
// reset belongs to the namespace of the packet that caused it.

const REASON_HELP =
  'Reset reason, as named by the running kernel. Reasons in lower case are derived from the socket because the kernel gives none.';

const OUTCOME_HELP =
  '`cut_off`: a connection or data was lost; `orderly`: nothing was lost, for example at the end of TLS.';

const metrics = defineMetrics({
  resets: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_resets_total',
    help: 'TCP resets, by direction and reason.',
    source: 'tcp:tcp_send_reset, tcp:tcp_receive_reset, map counts',
    detail: 'core',
    labels: {
      direction: {
        help: 'sent: this namespace sent the reset; received: a connection of this namespace was reset.',
        values: namesOf(resetSide),
      },
      reason: { help: REASON_HELP, example: 'NO_SOCKET', max: 64 },
      outcome: { help: OUTCOME_HELP, values: namesOf(resetOutcome) },
    },
  },
});

const events = defineEvents({
  tcp_reset: {
    help: 'A TCP connection was reset or refused.',
    severity: 'warning',
    info: 'when nothing was lost (see [the rule](resets.md))',
    equalBy: ['direction', 'reason', 'state'],
    client: ({ direction, state }) => {
      if (state === 'SYN_SENT') return direction === 'sent' ? 'src' : 'dst';
      if (state === 'LISTEN' || state === 'NEW_SYN_RECV') return direction === 'sent' ? 'dst' : 'src';
      return undefined;
    },
    fields: {
      direction: { type: 'string', help: 'Whether the namespace sent the reset or received it.' },
      reason: { type: 'string', help: REASON_HELP },
      state: {
        type: 'string',
        help: 'State of the socket. CLOSE if it is being closed; missing if no socket is involved.',
        optional: true,
      },
      outcome: { type: 'string', help: OUTCOME_HELP },
      unacknowledgedBytes: {
        type: 'number',
        help: 'Bytes sent by this end that the other end has not acknowledged, if any.',
        optional: true,
      },
      unreadBytes: {
        type: 'number',
        help: 'Bytes received that the process has not read, if any.',
        optional: true,
      },
      refusedBytes: {
        type: 'number',
        help: 'Bytes of data in the segment that caused the reset, if any.',
        optional: true,
      },
      ...PROCESS_FIELDS,
    },
  },
});

type ResetEvent = EventBody<(typeof events)['tcp_reset']>;

const NO_REASON = 'this kernel gives no reasons for resets (added in 6.10), so they are derived from the socket';

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'resets sent',
      choices: [
        { hooks: [hook('raw_tp/tcp_send_reset', 3, 'tcp_reset_sent_reason')] },
        // Before 6.10, the tracepoint does not fire for resets without a socket. These functions are called for all
        // resets.
        {
          hooks: [
            hook('fentry/tcp_v4_send_reset', 2, 'tcp_reset_v4_entry'),
            hook('fentry/tcp_v6_send_reset', 2, 'tcp_reset_v6_entry'),
            hook('fentry/tcp_send_active_reset', 1, 'tcp_reset_active_entry'),
          ],
          lacks: NO_REASON,
        },
        {
          hooks: [
            hook('kprobe/tcp_v4_send_reset', 2, 'tcp_reset_v4_probe'),
            hook('kprobe/tcp_v6_send_reset', 2, 'tcp_reset_v6_probe'),
            hook('kprobe/tcp_send_active_reset', 1, 'tcp_reset_active_probe'),
          ],
          lacks: NO_REASON,
        },
        {
          hooks: [hook('raw_tp/tcp_send_reset', 2, 'tcp_reset_sent')],
          lacks: `${NO_REASON}; resets without a socket, such as those from a closed port, are not seen`,
        },
      ],
    },
    {
      what: 'resets received',
      choices: [
        { hooks: [hook('tp_btf/tcp_receive_reset', 1, 'tcp_reset_received')] },
        { hooks: [hook('fentry/tcp_reset', 1, 'tcp_reset_received_entry')] },
        { hooks: [hook('kprobe/tcp_reset', 1, 'tcp_reset_received_probe')] },
      ],
    },
  ],
};

function directionOf(side: number): keyof typeof resetSide {
  return side === resetSide.sent ? 'sent' : 'received';
}

function decodeScene(view: DataView, at: number, reasons: ResetReasons): ResetScene {
  const scene = at + tcpResetEvent.offsets.scene;
  return {
    reason: reasons.name(tcpResetEvent.reason(view, at)),
    state: tcpResetEvent.state(view, at) === 0 ? 'NONE' : tcpStateName(tcpResetEvent.state(view, at)),
    isSent: tcpResetEvent.side(view, at) === resetSide.sent,
    isCutOff: resetScene.outcome(view, scene) === resetOutcome.cut_off,
    unacknowledged: resetScene.unacknowledged(view, scene),
    unread: resetScene.unread(view, scene),
    refused: resetScene.refused(view, scene),
    answersSyn: resetScene.answersSyn(view, scene) !== 0,
    neverAccepted: resetScene.neverAccepted(view, scene) !== 0,
  };
}

function bytesOf({ unacknowledged, unread, refused }: ResetScene) {
  return {
    ...(unacknowledged === 0 ? {} : { unacknowledgedBytes: unacknowledged }),
    ...(unread === 0 ? {} : { unreadBytes: unread }),
    ...(refused === 0 ? {} : { refusedBytes: refused }),
  };
}

function decodeEvent(view: DataView, at: number, reasons: ResetReasons, timeNs: bigint): ResetEvent {
  const direction = directionOf(tcpResetEvent.side(view, at));
  const state = tcpResetEvent.state(view, at);
  const scene = decodeScene(view, at, reasons);
  const { reason, isCutOff } = scene;
  const tuple = decodeTuple(view, at + tcpResetEvent.offsets.tuple);
  const who =
    direction === 'sent'
      ? `${tuple.src} reset the connection with ${tuple.dst}`
      : `${tuple.dst} was reset by ${tuple.src}`;
  return {
    timeNs,
    netns: asNetnsId(tcpResetEvent.netns(view, at)),
    ...tuple,
    fields: {
      direction,
      reason,
      ...(state === 0 ? {} : { state: tcpStateName(state) }),
      outcome: isCutOff ? 'cut_off' : 'orderly',
      ...bytesOf(scene),
      ...decodeProcess(view, at + tcpResetEvent.offsets.process),
    },
    ...(isCutOff ? {} : { severity: 'info' as const }),
    message: `TCP: ${who}: ${reason}. ${describeReset(scene)}`,
  };
}

export const tcpreset = defineProbe({
  name: 'tcpreset',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'TCP resets per Pod, by direction and reason, with an event for each. Shows refused connections and which end sent the reset.',
  guide: {
    question: 'Which end resets TCP connections, and why?',
    when: 'Look here for `connection reset by peer`, `connection refused` and `broken pipe`.',
    query:
      'topk(10, sum by (namespace, pod, direction, reason) (rate(netsonde_tcp_resets_total{outcome="cut_off"}[5m])))',
    limits: [
      'A reset does not carry its reason, so the reason of a received reset is derived from the state of the connection.',
      'A reset sent by a device or firewall on the path looks like a reset from the peer.',
    ],
  },
  metrics,
  events,
  options: {},
  inPlace: ['limit'],
  hooks,
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'BTF and ring buffers (5.8). Kernels give reasons since 6.10. On older kernels, resets without a socket need fentry or kprobes.',
  },
  measured: { programs: { ns: { 'raw_tp/tcp_send_reset': '97', 'tp_btf/tcp_receive_reset': '87' } } },
  open: async (scope, sources, settings) => {
    sources.bpf.check();
    const btf = sources.bpf.btf();
    const reasons = new ResetReasons(btf);
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      restKey: (side) => ({ reason: ANY_REASON, side }),
      constants: processConstants(btf),
      sizes: { events: 256 * 1024 },
      events: {
        recordBytesMax: tcpResetEvent.SIZE,
        onRecord: (view, at, wallNs) => {
          const timeNs = wallNs(tcpResetEvent.time(view, at));
          scope.publish('tcp_reset', decodeEvent(view, at, reasons, timeNs));
        },
      },
    });
    return {
      ...instance.running(),
      collect: async (emit) => {
        for (const { netns, reason, side, count } of instance.tally.rows()) {
          const outcome = nameOf(resetOutcome, side >> 1);
          if (outcome === undefined) continue;
          const name = reason === ANY_REASON ? OTHER_REASONS : reasons.name(reason);
          emit('resets', netns, count, { direction: directionOf(side & 1), reason: name, outcome });
        }
      },
    };
  },
});
