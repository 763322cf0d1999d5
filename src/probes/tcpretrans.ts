import * as z from 'zod';
import { FILE, type Layout, retransmitKind, tcpRetransmitEvent } from '#bpf/generated/tcpretrans.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { openEbpf } from '#probe/ebpf.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeTuple, tcpStateName } from '#probe/scene.ts';

// Namespaced: yes. A socket stays in one namespace all its life, and carries its cookie.

type Kind = keyof typeof retransmitKind;

/** Reasons for which the kernel retransmitted. */
const CAUSES: Readonly<Record<Kind, string>> = {
  rto: 'the acknowledgement did not arrive in time',
  fast: 'later data was acknowledged, this data was not',
  tlp: 'a probe whether the last data was lost, or its acknowledgement is only late',
  syn: 'the server does not answer',
  synack: 'the client does not acknowledge',
  mtu: 'a router on the path reported a smaller MTU',
  fastopen: 'the server did not take the data that came with the SYN',
};

/** Kinds of retransmission where nothing was lost. */
const NO_LOSS: ReadonlySet<Kind> = new Set(['tlp', 'mtu', 'fastopen']);
/** States in which this end has closed: a retransmission without data is the FIN, and all data has arrived. */
const CLOSING: ReadonlySet<string> = new Set(['FIN_WAIT1', 'CLOSING', 'LAST_ACK']);
const BARE_FIN = 'the other end has not yet acknowledged the close of this one; all data has arrived';
const FULL_QUEUE = 'the client has acknowledged, but the accept queue of the server was full';
const DEFERRED = 'the client has acknowledged, and the server waits for its first data (TCP_DEFER_ACCEPT)';

interface Retransmit {
  readonly kind: Kind;
  readonly state: string;
  readonly length: number;
  readonly confirmed: boolean;
  readonly deferred: boolean;
  readonly retransmits: number;
  readonly needless: number;
}

interface Judgement {
  readonly isLoss: boolean;
  readonly cause: string;
}

/** Decides whether something was lost, as far as the sender knows, and why it retransmitted. */
export function judgeRetransmit({ kind, state, length, confirmed, deferred }: Retransmit): Judgement {
  if (kind === 'synack' && confirmed) return { isLoss: !deferred, cause: deferred ? DEFERRED : FULL_QUEUE };
  if (NO_LOSS.has(kind)) return { isLoss: false, cause: CAUSES[kind] };
  if (CLOSING.has(state) && length === 0) return { isLoss: false, cause: BARE_FIN };
  return { isLoss: true, cause: CAUSES[kind] };
}

/** Describes what the receiver said about earlier retransmissions: DSACK reports data that it had already. */
function needlessText({ needless, retransmits }: Retransmit): string {
  if (needless === 0) return '';
  const text = ` The other end had ${needless} of them already (DSACK)`;
  // The answer to this retransmission cannot have arrived yet.
  return needless >= retransmits - 1 ? `${text}: the path or the other end is slow, and nothing is lost.` : `${text}.`;
}

const metrics = defineMetrics({
  retransmits: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_retransmits_total',
    help: 'TCP retransmissions, by kind.',
    source: 'tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack, map counts',
    detail: 'core',
    labels: {
      kind: {
        help: 'rto: after a timeout, until the lost data is acknowledged; fast: after later data was acknowledged; tlp: tail loss probe, mostly for a late acknowledgement; syn, synack: while a connection is established; mtu: too large for the path, sent again in smaller segments; fastopen: data that the server did not accept with the SYN.',
        values: namesOf(retransmitKind),
      },
    },
  },
});

const events = defineEvents({
  tcp_retransmit: {
    help: 'TCP retransmitted a segment because no acknowledgement came.',
    severity: 'warning',
    info: 'where nothing was lost: kinds `tlp`, `mtu` and `fastopen`, a FIN without data, and a SYN-ACK while the server waits for data (TCP_DEFER_ACCEPT)',
    equalBy: ['kind', 'state'],
    // Retransmissions are seen at the sender.
    client: ({ kind }) => (kind === 'syn' ? 'src' : kind === 'synack' ? 'dst' : undefined),
    fields: {
      kind: { type: 'string', help: 'Kind of retransmission: rto, fast, tlp, syn, synack, mtu or fastopen.' },
      state: { type: 'string', help: 'State of the connection; NEW_SYN_RECV while the server waits for the client.' },
      sequence: { type: 'number', help: 'Sequence number of the first byte.' },
      retransmits: { type: 'number', help: 'Segments that the connection has retransmitted so far, these included.' },
      needless: {
        type: 'number',
        help: 'Number of times that the other end reported that it had the data already (DSACK). A number equal to `retransmits`, or one less, means that nothing was lost.',
      },
      bytes: { type: 'number', help: 'Bytes of data that are retransmitted now; 0 for a SYN or a FIN.' },
      srttSeconds: { type: 'number', help: 'Smoothed round-trip time of the connection.', optional: true },
      cwnd: { type: 'number', help: 'Congestion window in segments.', optional: true },
    },
  },
});

type RetransmitEvent = EventBody<(typeof events)['tcp_retransmit']>;

const hooks: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'retransmitted segments',
      choices: [
        // The argument for the error was added between 6.12 and 6.18.
        { hooks: [hook('tp_btf/tcp_retransmit_skb', 3, 'tcp_retransmit_error')] },
        { hooks: [hook('tp_btf/tcp_retransmit_skb', 2, 'tcp_retransmit')] },
      ],
    },
    {
      what: 'retransmitted SYN-ACKs',
      optional: true,
      choices: [{ hooks: [hook('tp_btf/tcp_retransmit_synack', 2, 'tcp_retransmit_synack')] }],
    },
  ],
};

const MICROSECONDS = 1e-6;

function decodeEvent(view: DataView, at: number, kind: Kind, timeNs: bigint): RetransmitEvent {
  const state = tcpStateName(tcpRetransmitEvent.state(view, at));
  const sequence = tcpRetransmitEvent.sequence(view, at);
  const retransmits = tcpRetransmitEvent.retransmits(view, at);
  const srtt = tcpRetransmitEvent.srtt(view, at);
  const cwnd = tcpRetransmitEvent.cwnd(view, at);
  const tuple = decodeTuple(view, at + tcpRetransmitEvent.offsets.tuple);
  const retransmit = {
    kind,
    state,
    retransmits,
    needless: tcpRetransmitEvent.needless(view, at),
    length: tcpRetransmitEvent.length(view, at),
    confirmed: tcpRetransmitEvent.confirmed(view, at) !== 0,
    deferred: tcpRetransmitEvent.deferred(view, at) !== 0,
  };
  const { isLoss, cause } = judgeRetransmit(retransmit);
  return {
    timeNs,
    netns: asNetnsId(tcpRetransmitEvent.netns(view, at)),
    ...tuple,
    fields: {
      kind,
      state,
      sequence,
      retransmits,
      needless: retransmit.needless,
      bytes: retransmit.length,
      ...(srtt === 0 ? {} : { srttSeconds: srtt * MICROSECONDS }),
      ...(cwnd === 0 ? {} : { cwnd }),
    },
    ...(isLoss ? {} : { severity: 'info' as const }),
    message: `TCP retransmitted from ${tuple.src} to ${tuple.dst} in ${state} (${kind}, ${retransmits} so far): ${cause}.${needlessText(retransmit)}`,
  };
}

export const tcpretrans = defineProbe({
  name: 'tcpretrans',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'TCP retransmissions per Pod and by kind, with an event for each: shows loss on the path and servers that do not answer.',
  guide: {
    question: 'What does a Pod retransmit over TCP, why, and to which peer?',
    when: 'Look here when answers are late: each kind has its own cause, and the events name the peer.',
    query: 'sum by (namespace, pod, kind) (rate(netsonde_tcp_retransmits_total[5m])) > 0',
    limits: [
      'Retransmissions are seen at the sender; the receiver has no sign of them.',
      'A retransmitted segment was not always lost: the segment or its acknowledgement may only be late. The event says how many segments the other end got twice (`needless`); `netsonde_tcp_dsacks_received_total` counts them.',
      'A loss that a tail loss probe repaired is known only when the probe is acknowledged: `netsonde_tcp_loss_probe_recoveries_total` counts it, and there is no event.',
    ],
  },
  metrics,
  events,
  options: {
    lossProbes: z
      .boolean()
      .default(false)
      .describe(
        'Sends an event of severity info for each tail loss probe as well. Most probes are answered by an acknowledgement that was only late, as at the end of a connection.',
      ),
  },
  hooks,
  requires: { capabilities: ['CAP_BPF', 'CAP_PERFMON'], kernel: 'BTF and ring buffers (5.8).' },
  measured: { programs: { ns: { 'tp_btf/tcp_retransmit_skb': '97', 'tp_btf/tcp_retransmit_synack': '86' } } },
  open: async (scope, sources, settings) => {
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      restKey: (reason) => ({ reason, side: 0 }),
      constants: { loss_probe_events: settings.options.lossProbes },
      sizes: { events: 256 * 1024 },
      events: {
        recordBytesMax: tcpRetransmitEvent.SIZE,
        onRecord: (view, at, wallNs) => {
          const kind = nameOf(retransmitKind, tcpRetransmitEvent.kind(view, at));
          if (kind === undefined) return;
          scope.publish('tcp_retransmit', decodeEvent(view, at, kind, wallNs(tcpRetransmitEvent.time(view, at))));
        },
      },
    });
    return {
      ...instance.running(),
      collect: async (emit) => {
        for (const { netns, reason, count } of instance.tally.rows()) {
          const kind = nameOf(retransmitKind, reason);
          if (kind !== undefined) emit('retransmits', netns, count, { kind });
        }
      },
    };
  },
});
