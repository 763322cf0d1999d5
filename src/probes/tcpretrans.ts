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

// These metrics are per network namespace. A socket never moves to another namespace, and carries the cookie of its
// namespace.

type Kind = keyof typeof retransmitKind;

/** Cause of each kind of retransmission. */
const CAUSES: Readonly<Record<Kind, string>> = {
  rto: 'the acknowledgement did not arrive in time',
  fast: 'later data was acknowledged but this data was not',
  tlp: 'a probe tests whether the last data was lost or its acknowledgement is only delayed',
  syn: 'the server does not respond',
  synack: 'the client does not acknowledge',
  mtu: 'a router on the path reported a smaller MTU',
  fastopen: 'the server did not accept the data in the SYN',
};

/** Kinds of retransmissions that do not indicate a loss. */
const NO_LOSS: ReadonlySet<Kind> = new Set(['tlp', 'mtu', 'fastopen']);
/**
 * States in which this end has closed the connection. In these states, a retransmission without data is a retransmitted
 * FIN, and all data has arrived.
 */
const CLOSING: ReadonlySet<string> = new Set(['FIN_WAIT1', 'CLOSING', 'LAST_ACK']);
const BARE_FIN = 'the other end has not yet acknowledged the FIN, but all data has arrived';
const FULL_QUEUE = 'the client has sent its acknowledgement, but the accept queue of the server was full';
const DEFERRED = 'the client has sent its acknowledgement, but the server waits for its first data (TCP_DEFER_ACCEPT)';

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

/** Determines why a segment was retransmitted, and whether data was lost as far as the sender can tell. */
export function judgeRetransmit({ kind, state, length, confirmed, deferred }: Retransmit): Judgement {
  if (kind === 'synack' && confirmed) return { isLoss: !deferred, cause: deferred ? DEFERRED : FULL_QUEUE };
  if (NO_LOSS.has(kind)) return { isLoss: false, cause: CAUSES[kind] };
  if (CLOSING.has(state) && length === 0) return { isLoss: false, cause: BARE_FIN };
  return { isLoss: true, cause: CAUSES[kind] };
}

/** Describes earlier retransmissions that the receiver reported as unnecessary (DSACK). */
function needlessText({ needless, retransmits }: Retransmit): string {
  if (needless === 0) return '';
  const text = ` The other end had already received ${needless} of them (DSACK)`;
  // The last retransmission is not counted, because the response to it cannot have arrived yet.
  return needless >= retransmits - 1
    ? `${text}, so nothing was lost but the path or the other end is slow.`
    : `${text}.`;
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
        help: 'rto: after a timeout, until the lost data is acknowledged; fast: after later data was acknowledged; tlp: tail loss probe, usually because of a delayed acknowledgement; syn, synack: during connection setup; mtu: too large for the path, resent in smaller segments; fastopen: data in the SYN that the server did not accept.',
        values: namesOf(retransmitKind),
      },
    },
  },
});

const events = defineEvents({
  tcp_retransmit: {
    help: 'TCP retransmitted a segment because it was not acknowledged.',
    severity: 'warning',
    info: 'when nothing was lost: for the kinds `tlp`, `mtu` and `fastopen`, a FIN without data, and a SYN-ACK while the server waits for data (TCP_DEFER_ACCEPT)',
    equalBy: ['kind', 'state'],
    // Only the sender observes a retransmission, so the kind of segment shows which end is the client.
    client: ({ kind }) => (kind === 'syn' ? 'src' : kind === 'synack' ? 'dst' : undefined),
    fields: {
      kind: { type: 'string', help: 'Kind of retransmission: rto, fast, tlp, syn, synack, mtu or fastopen.' },
      state: { type: 'string', help: 'State of the connection; NEW_SYN_RECV while the server waits for the client.' },
      sequence: { type: 'number', help: 'Sequence number of the first byte.' },
      retransmits: {
        type: 'number',
        help: 'Segments that the connection has retransmitted so far, including this one.',
      },
      needless: {
        type: 'number',
        help: 'Number of times that the other end reported that it already had the data (DSACK). If it equals `retransmits` or is one less, nothing was lost.',
      },
      bytes: { type: 'number', help: 'Bytes of data in this retransmission; 0 for a SYN or a FIN.' },
      waitsFor: {
        type: 'string',
        help: 'With kind synack: the reason why the server did not accept the acknowledgement of the client, which has arrived: `accept_queue` if the accept queue was full, `data` if the server waits for data (TCP_DEFER_ACCEPT).',
        optional: true,
      },
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
        // The argument `error` was added between 6.12 and 6.18.
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
      ...(kind === 'synack' && retransmit.confirmed ? { waitsFor: retransmit.deferred ? 'data' : 'accept_queue' } : {}),
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
    'TCP retransmissions per Pod and by kind, with an event for each. Shows loss on the path and unresponsive servers.',
  guide: {
    question: 'What does a Pod retransmit over TCP, why, and to which peer?',
    when: 'Look here when responses are slow. Each kind has its own cause, and the events name the peer.',
    query: 'sum by (namespace, pod, kind) (rate(netsonde_tcp_retransmits_total[5m])) > 0',
    limits: [
      'Retransmissions are seen only at the sender.',
      'A retransmitted segment was not always lost: the segment or its acknowledgement may only be delayed. The event says how many segments the other end received twice (`needless`); `netsonde_tcp_dsacks_received_total` counts them.',
      'A loss that a tail loss probe repaired is detected only when the probe is acknowledged. It causes no event; `netsonde_tcp_loss_probe_recoveries_total` counts it.',
    ],
  },
  metrics,
  events,
  options: {
    lossProbes: z
      .boolean()
      .default(false)
      .describe(
        'Also send an event with severity info for each tail loss probe. After most probes, the acknowledgement turns out to be only delayed, for example at the end of a connection.',
      ),
  },
  inPlace: ['limit', 'lossProbes'],
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
    const running = instance.running();
    return {
      ...running,
      apply: (changed) => {
        instance.set<Layout>({ loss_probe_events: changed.options.lossProbes });
        return running.apply(changed);
      },
      collect: async (emit) => {
        for (const { netns, reason, count } of instance.tally.rows()) {
          const kind = nameOf(retransmitKind, reason);
          if (kind !== undefined) emit('retransmits', netns, count, { kind });
        }
      },
    };
  },
});
