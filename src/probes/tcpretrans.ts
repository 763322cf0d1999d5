import { FILE, type Layout, retransmitKind, tcpRetransmitEvent } from '#bpf/generated/tcpretrans.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { asNetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { openEbpf } from '#probe/ebpf.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import { defineMetrics } from '#probe/metric.ts';
import { decodeTuple, tcpStateName } from '#probe/scene.ts';

// Namespaced: yes. A socket is in one namespace for all its life, and carries the cookie.

/** What made the kernel do it. */
const CAUSES: Readonly<Record<keyof typeof retransmitKind, string>> = {
  rto: 'the acknowledgement did not come in time',
  fast: 'later data was acknowledged, this was not',
  tlp: 'it probes whether the last data was lost',
  syn: 'the server does not answer',
  synack: 'the client does not confirm',
};

const metrics = defineMetrics({
  retransmits: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_retransmits_total',
    help: 'Times that TCP sent something again, by what made it do so.',
    source: 'tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack, map counts',
    detail: 'core',
    labels: {
      kind: {
        help: 'rto: after a timeout, until what was lost is there; fast: after later data was acknowledged; tlp: tail loss probe; syn, synack: while a connection is made.',
        values: namesOf(retransmitKind),
      },
    },
  },
});

const events = defineEvents({
  tcp_retransmit: {
    help: 'TCP sent something again, because no acknowledgement came.',
    severity: 'warning',
    equalBy: ['kind', 'state'],
    // It is seen at the sender.
    client: ({ kind }) => (kind === 'syn' ? 'src' : kind === 'synack' ? 'dst' : undefined),
    fields: {
      kind: { type: 'string', help: 'Why: rto, fast, tlp, syn or synack.' },
      state: { type: 'string', help: 'State of the connection; NEW_SYN_RECV while the server waits for the client.' },
      sequence: { type: 'number', help: 'Sequence number of the first byte.' },
      retransmits: { type: 'number', help: 'Segments that the connection has sent again so far, these counted.' },
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
      what: 'segments that are sent again',
      choices: [
        // The error came between 6.12 and 6.18.
        { hooks: [hook('tp_btf/tcp_retransmit_skb', 3, 'tcp_retransmit_error')] },
        { hooks: [hook('tp_btf/tcp_retransmit_skb', 2, 'tcp_retransmit')] },
      ],
    },
    {
      what: 'SYN-ACKs that are sent again',
      optional: true,
      choices: [{ hooks: [hook('tp_btf/tcp_retransmit_synack', 2, 'tcp_retransmit_synack')] }],
    },
  ],
};

const MICROSECONDS = 1e-6;

function decodeEvent(view: DataView, at: number, timeNs: bigint): RetransmitEvent {
  const number = tcpRetransmitEvent.kind(view, at);
  const kind = nameOf(retransmitKind, number);
  const state = tcpStateName(tcpRetransmitEvent.state(view, at));
  const sequence = tcpRetransmitEvent.sequence(view, at);
  const retransmits = tcpRetransmitEvent.retransmits(view, at);
  const srtt = tcpRetransmitEvent.srtt(view, at);
  const cwnd = tcpRetransmitEvent.cwnd(view, at);
  const tuple = decodeTuple(view, at + tcpRetransmitEvent.offsets.tuple);
  const cause = kind === undefined ? '' : `: ${CAUSES[kind]}`;
  return {
    timeNs,
    netns: asNetnsId(tcpRetransmitEvent.netns(view, at)),
    ...tuple,
    fields: {
      kind: kind ?? String(number),
      state,
      sequence,
      retransmits,
      ...(srtt === 0 ? {} : { srttSeconds: srtt * MICROSECONDS }),
      ...(cwnd === 0 ? {} : { cwnd }),
    },
    message: `TCP sent again from ${tuple.src} to ${tuple.dst} in ${state} (${kind}, ${retransmits} so far)${cause}.`,
  };
}

export const tcpretrans = defineProbe({
  name: 'tcpretrans',
  kind: 'ebpf',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'What TCP sends again, per Pod and by what made it do so, with an event for each: shows loss on the way and servers that do not answer.',
  guide: {
    question: 'What does TCP of a Pod send again, what made it do so, and to whom?',
    when: 'Look here when answers are late: each kind has its own cause, and the events name the peer.',
    query: 'sum by (namespace, pod, kind) (rate(netsonde_tcp_retransmits_total[5m])) > 0',
    limits: [
      'It is seen at the sender: who receives has no sign of it.',
      'A segment that is sent again was not always lost: it, or its acknowledgement, may only be late.',
    ],
  },
  metrics,
  events,
  options: {},
  hooks,
  requires: { capabilities: ['CAP_BPF', 'CAP_PERFMON'], kernel: 'BTF and ring buffers (5.8).' },
  open: async (scope, sources, settings) => {
    const instance = await openEbpf<Layout>(scope, sources, settings, {
      hooks,
      sizes: { events: 256 * 1024 },
      events: {
        recordBytesMax: tcpRetransmitEvent.SIZE,
        onRecord: (view, at, wallNs) =>
          scope.publish('tcp_retransmit', decodeEvent(view, at, wallNs(tcpRetransmitEvent.time(view, at)))),
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
