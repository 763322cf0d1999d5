import { jiffiesPerSecond } from 'bpf-napi';
import type { NetnsId } from '#core/netns.ts';
import { type EdgeNaming, edgeLabelsOf } from '#probe/edge_labels.ts';
import { FAILURES, type FlowRow } from '#probe/flow_row.ts';
import { NO_LABELS, type RowReader } from '#probe/metric.ts';
import type { TcpEndsUser } from '#probe/tcp_ends_use.ts';
import { COUNTS_OF, ENDS, type FLOW_METRICS, SECONDS_OF } from './flow_metrics.ts';

const MICROSECONDS = 1e-6;

type Put = Parameters<RowReader<typeof FLOW_METRICS, FlowRow>['samples']>[1];

const COUNTS = Object.entries(COUNTS_OF) as [keyof typeof COUNTS_OF, (typeof COUNTS_OF)[keyof typeof COUNTS_OF]][];
const SECONDS = Object.entries(SECONDS_OF) as [keyof typeof SECONDS_OF, (typeof SECONDS_OF)[keyof typeof SECONDS_OF]][];
const FAILURE_LABELS = Object.entries(FAILURES).map(
  ([end, cause]) => [end as keyof typeof FAILURES, { cause }] as const,
);
const END_LABELS = ENDS.map((end) => [end, { end }] as const);

function putCounts(row: FlowRow, put: Put, perSecond: number): void {
  for (const [metric, field] of COUNTS) put(metric, row.count(field), NO_LABELS);
  for (const [metric, field] of SECONDS) put(metric, row.count(field) / perSecond, NO_LABELS);
}

function putEnds(row: FlowRow, put: Put): void {
  for (const [end, labels] of FAILURE_LABELS) {
    const count = row.ended(end);
    if (count > 0) put('failed', count, labels);
  }
  for (const [end, labels] of END_LABELS) {
    const count = row.ended(end);
    if (count > 0) put('closed', count, labels);
  }
}

function putRoundTrips({ roundTrips, roundTripSum }: FlowRow, put: Put): void {
  if (roundTrips.some((count) => count > 0))
    put('roundTrip', { counts: [...roundTrips], sum: roundTripSum * MICROSECONDS }, NO_LABELS);
}

/** Reads rows for the collector. */
export class FlowReader implements RowReader<typeof FLOW_METRICS, FlowRow> {
  readonly #options: EdgeNaming;
  readonly #perSecond = jiffiesPerSecond();
  readonly #labels = new WeakMap<FlowRow, Record<string, string>>();
  readonly #subjectOf: (row: FlowRow) => NetnsId;
  readonly #user: TcpEndsUser;

  constructor(user: TcpEndsUser, options: EdgeNaming, subjectOf: (row: FlowRow) => NetnsId) {
    this.#user = user;
    this.#options = options;
    this.#subjectOf = subjectOf;
  }

  subject(row: FlowRow) {
    return this.#subjectOf(row);
  }

  key(row: FlowRow): number {
    return row.serial;
  }

  labels(row: FlowRow): Record<string, string> {
    let labels = this.#labels.get(row);
    if (labels === undefined) {
      labels = edgeLabelsOf(row.place, row.identity, this.#options);
      this.#labels.set(row, labels);
    }
    return labels;
  }

  peerNamespace({ identity }: FlowRow): string {
    return identity?.namespace ?? '';
  }

  samples(row: FlowRow, put: Put): void {
    putCounts(row, put, this.#perSecond);
    put('open', row.open, NO_LABELS);
    putEnds(row, put);
    putRoundTrips(row, put);
  }

  version(row: FlowRow): number {
    return row.version;
  }

  isLast(row: FlowRow): boolean {
    return row.isLast;
  }

  counted(row: FlowRow): void {
    this.#user.counted(row);
  }
}
