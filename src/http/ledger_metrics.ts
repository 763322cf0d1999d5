import { DROP_REASONS } from '#api/words.ts';
import type { LedgerRow } from '#delivery/ledger.ts';
import type { Labels, Source } from '#delivery/record.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { defineMetrics, type LooseEmit, NODE } from '#probe/metric.ts';
import type { SourceRow } from './ledger.ts';

const KIND = { help: 'Kind of the records.', example: 'event', max: 16 } as const;
const PROBE = { help: 'Name of the probe.', example: 'packetloss', max: 64 } as const;
const SINK = { help: 'Name of the sink.', example: 'stdout', max: 16 } as const;
const LIMIT_STAGE = { help: 'Where the limit applied.', values: ['kernel', 'agent'] } as const;
const DROP_STAGE = { help: 'Where the loss happened.', values: ['kernel', 'sink'] } as const;
const REASON = { help: 'Reason of the loss.', values: ['ring_full', ...DROP_REASONS] } as const;

const agent = { scope: 'agent', detail: 'core', source: 'agent' } as const;

/** Ledger metrics for events. */
export const EVENT_METRICS = defineMetrics({
  produced: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_produced_total',
    help: 'Events that happened, including those that a limit dropped.',
    labels: { probe: PROBE },
  },
  limited: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_limited_total',
    help: 'Events dropped by a limit.',
    labels: { probe: PROBE, stage: LIMIT_STAGE },
  },
  folded: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_folded_total',
    help: 'Events that were folded into a later event, which includes their count.',
    labels: { probe: PROBE },
  },
  unfolded: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_unfolded_total',
    help: 'Events that were sent without folding because too many different events happened at the same time.',
    labels: {},
  },
  delivered: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_delivered_total',
    help: 'Events that the sink has accepted.',
    labels: { probe: PROBE, sink: SINK },
  },
  dropped: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_dropped_total',
    help: 'Events that were lost. The sink label is empty for events lost before they reached any sink.',
    labels: { probe: PROBE, sink: SINK, stage: DROP_STAGE, reason: REASON },
  },
  pending: {
    ...agent,
    type: 'gauge',
    name: 'netsonde_events_pending',
    help: 'Events that wait for the sink. The sink label is empty for events held for folding or for the verdict of policies.',
    labels: { probe: PROBE, sink: SINK },
  },
  recovered: {
    ...agent,
    type: 'counter',
    name: 'netsonde_events_recovered_total',
    help: 'Events that an earlier run of the agent left in the spool of the sink.',
    labels: { probe: PROBE, sink: SINK },
  },
});

type EventMetric = keyof typeof EVENT_METRICS;

/** Returns the descriptor of an event metric with the additional label `kind`. */
function ofKind<const M extends EventMetric>(metric: M) {
  const { labels, ...descriptor } = EVENT_METRICS[metric];
  return { ...descriptor, labels: { kind: KIND, ...labels } };
}

/** Ledger metrics for all kinds of records, including events. */
export const RECORD_METRICS = defineMetrics({
  recordsProduced: {
    ...ofKind('produced'),
    name: 'netsonde_records_produced_total',
    help: 'Records that were created, including those that a limit dropped.',
  },
  recordsLimited: {
    ...ofKind('limited'),
    name: 'netsonde_records_limited_total',
    help: 'Records dropped by a limit.',
  },
  recordsFolded: {
    ...ofKind('folded'),
    name: 'netsonde_records_folded_total',
    help: 'Records that were folded into a later record, which includes their count.',
  },
  recordsDelivered: {
    ...ofKind('delivered'),
    name: 'netsonde_records_delivered_total',
    help: 'Records that the sink has accepted.',
  },
  recordsDropped: {
    ...ofKind('dropped'),
    name: 'netsonde_records_dropped_total',
    help: 'Records that were lost. The sink label is empty for records lost before they reached any sink.',
  },
  recordsPending: {
    ...ofKind('pending'),
    name: 'netsonde_records_pending',
    help: 'Records that wait for the sink. The sink label is empty for records held for folding or for the verdict of policies.',
  },
  recordsRecovered: {
    ...ofKind('recovered'),
    name: 'netsonde_records_recovered_total',
    help: 'Records that an earlier run of the agent left in the spool of the sink.',
  },
});

const BOTH = {
  recordsProduced: 'produced',
  recordsLimited: 'limited',
  recordsFolded: 'folded',
  recordsDelivered: 'delivered',
  recordsDropped: 'dropped',
  recordsPending: 'pending',
  recordsRecovered: 'recovered',
} as const satisfies Record<keyof typeof RECORD_METRICS, EventMetric>;

/** Emits all rows as `netsonde_records_*`, and the rows of events also as `netsonde_events_*`. */
export function emitLedger(emit: LooseEmit, sources: readonly SourceRow[], sinks: readonly LedgerRow[]): void {
  const count = (metric: keyof typeof BOTH, { kind, probe }: Source, value: number, labels: Labels = {}) => {
    emit(metric, NODE, value, { kind, probe, ...labels });
    if (kind === EVENT_KIND.name) emit(BOTH[metric], NODE, value, { probe, ...labels });
  };
  for (const row of sources) {
    const { stage, produced, limited, lost, limitedLater, folded, held } = row;
    count('recordsProduced', row, produced);
    if (stage === 'kernel') {
      count('recordsLimited', row, limited, { stage });
      count('recordsDropped', row, lost, { sink: '', stage, reason: 'ring_full' });
    }
    count('recordsLimited', row, limitedLater + (stage === 'agent' ? limited : 0), { stage: 'agent' });
    count('recordsFolded', row, folded);
    count('recordsPending', row, held, { sink: '' });
  }
  for (const row of sinks) {
    const { sink, delivered, pending, recovered, dropped } = row;
    count('recordsDelivered', row, delivered, { sink });
    count('recordsPending', row, pending, { sink });
    count('recordsRecovered', row, recovered, { sink });
    for (const [reason, lost] of dropped) count('recordsDropped', row, lost, { sink, stage: 'sink', reason });
  }
}
