import type { JSX } from 'preact';
import type { RequestSummary } from '#api/flows.ts';
import type { RequestRecord } from '#api/requests.ts';
import { joinEndpoint } from '#core/address.ts';
import { edgeQuery } from '../flows/record_stream.ts';
import { Records, selectionText } from '../flows/records.tsx';
import { clock, seconds } from '../format.ts';

interface Props {
  readonly edge: RequestSummary;
  /** Key `records` of the probe `http`; undefined if the configuration does not have it. */
  readonly selected: unknown;
}

const HOW =
  'Requests have records only if the configuration selects some: probes: { http: { enabled: true, records: { failed: true, slow: 1s } } }.';
const TEXTS = { what: 'requests', unknown: HOW, none: HOW } as const;

/** Shows the records of an edge as its requests are answered. */
export function RequestRecords({ edge, selected }: Props): JSX.Element {
  return (
    <Records<RequestRecord>
      path={`/api/v1/requests/stream?${edgeQuery(edge)}`}
      prompt="Show requests as they are answered"
      selection={selectionText({ selected, ...TEXTS })}
      line={(record) => <RecordLine record={record} />}
    />
  );
}

function RecordLine({ record }: { record: RequestRecord }): JSX.Element {
  const {
    time,
    failed,
    method,
    path,
    status,
    grpcCode,
    seconds: took,
    networkSeconds,
    src,
    srcPort,
    dst,
    dstPort,
  } = record;
  const network = networkSeconds === null ? '' : `, ${seconds(networkSeconds)} of it on the network`;
  const trace = record.traceId === null ? '' : `, trace ${record.traceId}`;
  return (
    <>
      <span class="value quiet">{clock(time, true)}</span>{' '}
      <span class={failed ? 'bad' : 'quiet'}>{grpcCode ?? status ?? 'no response'}</span>{' '}
      <span class="value">
        {method} {path ?? 'an unknown path'}
      </span>{' '}
      <span class="quiet">
        after {seconds(took)}
        {network}, {joinEndpoint(src, srcPort)} → {joinEndpoint(dst, dstPort)}
        {trace}
      </span>
    </>
  );
}
