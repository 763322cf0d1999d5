import type { JSX } from 'preact';
import type { EdgeSummary, FlowRecord } from '#api/flows.ts';
import { joinEndpoint } from '#core/address.ts';
import { bytes, clock, seconds } from '../format.ts';
import { edgeQuery } from './record_stream.ts';
import { Records, selectionText } from './records.tsx';
import { causeOf } from './verdict.ts';

interface Props {
  readonly edge: EdgeSummary;
  /** Key `records` of the probe; undefined if it is unknown. */
  readonly selected: unknown;
}

const TEXTS = {
  what: 'connections',
  unknown: 'Only failed connections have records, unless the configuration of the probe selects others.',
  none: 'The configuration of the probe selects no connections.',
} as const;

/** Shows the records of an edge as its connections end. */
export function FlowRecords({ edge, selected }: Props): JSX.Element {
  return (
    <Records<FlowRecord>
      path={`/api/v1/flows/stream?${edgeQuery(edge)}`}
      prompt="Show connections as they end"
      selection={selectionText({ selected, ...TEXTS })}
      line={(record) => <RecordLine record={record} />}
    />
  );
}

function RecordLine({ record }: { record: FlowRecord }): JSX.Element {
  const { time, failed, src, srcPort, dst, dstPort, sentBytes, receivedBytes, roundTripSeconds } = record;
  const trip = roundTripSeconds === null ? '' : `, round trip ${seconds(roundTripSeconds)}`;
  return (
    <>
      <span class="value quiet">{clock(time, true)}</span>{' '}
      <span class={failed ? 'bad' : 'quiet'}>{endText(record)}</span>{' '}
      <span class="value">
        {joinEndpoint(src, srcPort ?? undefined)} → {joinEndpoint(dst, dstPort)}
      </span>{' '}
      <span class="quiet">
        {bytes(sentBytes)} sent, {bytes(receivedBytes)} received{trip}
      </span>
    </>
  );
}

function endText({ cause, end }: FlowRecord): string {
  if (cause !== null) return causeOf(cause).words;
  return (end ?? 'ended').replaceAll('_', ' ');
}
