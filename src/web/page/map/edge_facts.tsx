import type { JSX } from 'preact';
import { roundTripOf } from '#api/flow_rates.ts';
import { durationQuantile } from '#api/request_rates.ts';
import { Fact } from '../fact.tsx';
import { causeOf, causesIn, failedShare, lostShare } from '../flows/verdict.ts';
import { bytesRate, count, percent, rate, seconds } from '../format.ts';
import type { EdgeView } from './model.ts';
import { packetsText } from './verdict.ts';

/** Shows the numbers of the last minute. Numbers of connections are left out for UDP, which has no connections. */
export function Numbers({ edge }: { edge: EdgeView }): JSX.Element {
  const { counts, seconds: period, bytesRate: bytes, protocol } = edge;
  const known = (value: number | null | undefined, format: (value: number) => string) =>
    value === null || value === undefined ? '–' : format(value);
  const perSecond = (value: number) => `${rate(value / period)}/s`;
  const isKnown = counts !== undefined && period > 0;
  if (protocol === 'udp') {
    return (
      <dl class="numbers">
        <Fact name="bytes">{isKnown ? bytesRate(bytes) : '–'}</Fact>
        <Fact name="datagrams there">{isKnown ? perSecond(counts.sentDatagrams) : '–'}</Fact>
        <Fact name="and back">{isKnown ? perSecond(counts.receivedDatagrams) : '–'}</Fact>
        <Fact name="zone">{zoneText(edge)}</Fact>
      </dl>
    );
  }
  return (
    <dl class="numbers">
      <Fact name="bytes">{isKnown ? bytesRate(bytes) : '–'}</Fact>
      <Fact name="connects">{isKnown ? perSecond(counts.connections) : '–'}</Fact>
      <Fact name="failed">{known(counts && failedShare(counts), percent)}</Fact>
      <Fact name="round trip">{known(counts && roundTripOf(counts), seconds)}</Fact>
      <Fact name="retransmitted">{known(counts && lostShare(counts), percent)}</Fact>
      <Fact name="zone">{zoneText(edge)}</Fact>
    </dl>
  );
}

/** Shows the requests of the last minute; nothing if there were none. */
export function Requests({ edge: { counts, seconds: period } }: { edge: EdgeView }): JSX.Element | null {
  const requests = counts?.requests;
  if (requests === undefined || requests.requests === 0 || period === 0) return null;
  const { requests: all, failed, declined, unread } = requests;
  const [p50, p99] = [durationQuantile(requests, 0.5), durationQuantile(requests, 0.99)];
  return (
    <>
      <h3>Requests</h3>
      <dl class="numbers">
        <Fact name="requests">{`${rate(all / period)}/s`}</Fact>
        <Fact name="errors">{percent(failed / all)}</Fact>
        <Fact name="declined">{percent(declined / all)}</Fact>
        <Fact name="p50">{p50 === null ? '–' : seconds(p50)}</Fact>
        <Fact name="p99">{p99 === null ? '–' : seconds(p99)}</Fact>
        <Fact name="not read">{percent(unread / all)}</Fact>
      </dl>
    </>
  );
}

function zoneText({ edge, source, target }: EdgeView): string {
  if (edge?.crossZone !== true && source.zone !== null && source.zone === target.zone) return `both in ${source.zone}`;
  if (source.zone !== null && target.zone !== null && source.zone !== target.zone) {
    return `${source.zone} → ${target.zone}`;
  }
  if (edge?.crossZone === true) return 'crosses zones';
  return edge?.crossZone === false ? 'one zone' : '–';
}

const SEEN_BY: Readonly<Record<string, string>> = {
  client: 'at the client, which is on this node',
  server: 'at the server, which is on this node',
  both: 'at both ends, which are on this node',
};

/** Lists the causes of failures, and the counts from which the numbers are computed. */
export function Why({ edge: { counts, signs, edge, protocol } }: { edge: EdgeView }): JSX.Element {
  const causes = counts === undefined ? [] : causesIn(counts);
  return (
    <>
      <h3>In the last minute</h3>
      <dl class="why">
        {causes.map(([name, times]) => (
          <Fact key={name} name={causeOf(name).words}>
            {count(times)} connects
          </Fact>
        ))}
        {counts !== undefined && counts.retransmittedSegments > 0 && (
          <Fact name="retransmitted">
            {count(counts.retransmittedSegments)} of {count(counts.sentSegments)} segments
          </Fact>
        )}
        {signs !== undefined && signs.denied > 0 && <Fact name="denied">{packetsText(signs.denied)}, sampled</Fact>}
        {signs !== undefined && signs.dropped > 0 && <Fact name="dropped">{packetsText(signs.dropped)}, sampled</Fact>}
        {signs !== undefined && signs.queueFull > 0 && (
          <Fact name="accept queue">{count(signs.queueFull)} segments refused</Fact>
        )}
        {counts !== undefined && protocol === 'udp' && (
          <Fact name="datagrams">
            {count(counts.sentDatagrams)} there, {count(counts.receivedDatagrams)} back
          </Fact>
        )}
        {counts !== undefined && protocol === 'tcp' && (
          <Fact name="established">{count(counts.connections)} connections</Fact>
        )}
        {edge !== undefined && protocol === 'tcp' && <Fact name="open now">{count(edge.open)} sockets</Fact>}
        <Fact name="seen">{edge === undefined ? 'only by events' : (SEEN_BY[edge.seenBy] ?? edge.seenBy)}</Fact>
      </dl>
    </>
  );
}
