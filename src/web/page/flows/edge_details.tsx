import type { JSX } from 'preact';
import { Chart } from '../chart.tsx';
import { Fact } from '../fact.tsx';
import { bytes, bytesRate, clock, count, entityName, percent, rate, seconds, span } from '../format.ts';
import { lineSentence } from '../line.ts';
import { formatPlace, type Place } from '../location.ts';
import type { Store } from '../store.ts';
import { eventsOf } from './edge_events.ts';
import type { EdgeView } from './edge_view.ts';
import { FlowRecords } from './flow_records.tsx';
import { TroubleIcon } from './icon.tsx';
import { MEASURES } from './measures.ts';
import { causeOf, causesIn, GRADE_WORDS, type Verdict } from './verdict.ts';

const EVENTS_SHOWN = 5;

/**
 * Shows everything about one edge: its problems with the measured values, all numbers, the causes of failures, and the
 * events.
 */
export function EdgeDetails({ store, view }: { store: Store; view: EdgeView }): JSX.Element {
  const { measure, verdict, edge } = view;
  const { title, format } = MEASURES[measure];
  const line = view.line(measure);
  // The row itself shows the worst problem.
  const further = view.troubles.filter((trouble) => trouble !== verdict);
  return (
    <div class="scene edge">
      {further.map((trouble) => (
        <VerdictText key={trouble.kind} verdict={trouble} />
      ))}
      <div class="columns">
        <div>
          <h3>{title}</h3>
          <Chart
            points={line}
            tone={verdict?.grade ?? 'ok'}
            format={format}
            label={lineSentence(title, line, format)}
            from="5 min ago"
            to="now"
          />
        </div>
        <div>
          <h3>{view.seconds > 0 ? `In the last ${span(view.seconds * 1_000)}` : 'Now'}</h3>
          <Numbers view={view} />
          <Causes view={view} />
        </div>
        <div>
          <h3>Events of these connections</h3>
          <EdgeEvents store={store} view={view} />
        </div>
      </div>
      <FlowRecords key={view.id} edge={edge} selected={store.sectionOf('flow')?.['records']} />
    </div>
  );
}

export function VerdictText({ verdict: { kind, grade, text } }: { verdict: Verdict }): JSX.Element {
  return (
    <span class={`verdict tone-${grade}`}>
      <TroubleIcon kind={kind} /> {text}
      <span class="hidden">, {GRADE_WORDS[grade]}</span>
    </span>
  );
}

function Numbers({ view: { edge, counts, seconds: period, numbers } }: { view: EdgeView }): JSX.Element {
  const perSecond = (value: number | undefined, format: (value: number) => string) =>
    value === undefined || period === 0 ? '–' : format(value / period);
  const orNone = (value: number | null, format: (value: number) => string) => (value === null ? '–' : format(value));
  return (
    <dl>
      <Fact name="role of the Pod">{edge.role}</Fact>
      <Fact name="open now">{count(edge.open)}</Fact>
      <Fact name="connects">{perSecond(counts?.connections, (value) => `${rate(value)}/s`)}</Fact>
      <Fact name="failed">
        {counts === undefined ? '–' : `${count(counts.failures)} (${orNone(numbers.failed, percent)})`}
      </Fact>
      <Fact name="sent">{perSecond(counts?.sentBytes, bytesRate)}</Fact>
      <Fact name="received">{perSecond(counts?.receivedBytes, bytesRate)}</Fact>
      <Fact name="retransmitted">
        {counts === undefined
          ? '–'
          : `${count(counts.retransmittedSegments)} of ${count(counts.sentSegments)} segments`}
      </Fact>
      <Fact name="round trip">{orNone(numbers.roundTrip, seconds)}</Fact>
      <Fact name="since start">
        {count(edge.connections)} connections, {bytes(edge.sentBytes)} sent, {bytes(edge.receivedBytes)} received
      </Fact>
    </dl>
  );
}

function Causes({ view: { counts } }: { view: EdgeView }): JSX.Element | null {
  const causes = counts === undefined ? [] : causesIn(counts);
  if (causes.length === 0) return null;
  return (
    <>
      <h3>Causes of failed connects</h3>
      <ul class="causes">
        {causes.map(([name, times]) => (
          <li key={name}>
            <strong>
              {count(times)} {causeOf(name).words}
            </strong>
            . <span class="quiet">{causeOf(name).explanation}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function EdgeEvents({ store: { log }, view }: { store: Store; view: EdgeView }): JSX.Element {
  const events = eventsOf(log.events, view.edge);
  const { namespace, pod, peer } = view.edge;
  const filters: Place['filters'] =
    pod === null || pod === '' ? { text: peer } : { pod: entityName({ namespace, pod }), text: peer };
  return (
    <>
      {events.length === 0 && <p class="quiet">None of the events on this page.</p>}
      {events.length > 0 && (
        <ul class="happened">
          {events.slice(0, EVENTS_SHOWN).map(({ id, event }) => (
            <li key={id} title={event.message}>
              <span class="value quiet">{clock(event.time)}</span> <span class="value">{event.type}</span>{' '}
              {typeof event['count'] === 'number' && <span class="quiet">{count(event['count'])} times</span>}
              <span class="sub quiet">{event.message}</span>
            </li>
          ))}
        </ul>
      )}
      <p class="links">
        <a href={formatPlace({ tab: 'events', filters })}>
          {events.length > EVENTS_SHOWN ? `all ${count(events.length)} events` : 'in the tab Events'}
        </a>
        {pod !== null && pod !== '' && (
          <a href={formatPlace({ tab: 'pods', filters: { q: entityName({ namespace, pod }) } })}>the Pod</a>
        )}
      </p>
    </>
  );
}
