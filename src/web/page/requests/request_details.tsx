import type { JSX } from 'preact';
import { Chart } from '../chart.tsx';
import { Fact } from '../fact.tsx';
import { VerdictText } from '../flows/edge_details.tsx';
import { eventsOf } from '../flows/edge_events.ts';
import { HISTORY_MS } from '../flows/history.ts';
import { MEASURES } from '../flows/measures.ts';
import { clock, count, entityName, percent, rate, seconds, span } from '../format.ts';
import { lineSentence } from '../line.ts';
import { formatPlace } from '../location.ts';
import type { Store } from '../store.ts';
import { RequestRecords } from './request_records.tsx';
import { isDns, type RequestView } from './request_view.ts';
import { readText } from './unread.ts';
import { missingNames, type WorstPath, worstPaths } from './worst_paths.ts';

const PATHS_SHOWN = 6;

/** Shows the requests of one edge: all numbers, the worst paths, and how much of the Pod's traffic is read. */
export function RequestDetails({ store, view }: { store: Store; view: RequestView }): JSX.Element {
  const { measure, verdict, edge } = view;
  const { title, format } = MEASURES[measure];
  const line = view.line(measure);
  // The row itself shows the worst problem.
  const further = view.troubles.filter((trouble) => trouble !== verdict);
  const own = store.requests.report?.connections.find(
    ({ namespace, pod }) => namespace === edge.namespace && pod === edge.pod,
  );
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
          {own !== undefined && !isDns(edge.protocol) && (
            <p class="quiet">
              {entityName(edge)}: {readText(own)}
            </p>
          )}
        </div>
        <div>
          <h3>{view.seconds > 0 ? `In the last ${span(view.seconds * 1_000)}` : 'Now'}</h3>
          <Numbers view={view} />
        </div>
        <div>
          <h3>{isDns(edge.protocol) ? 'Worst names' : 'Worst paths'}</h3>
          <Worst store={store} view={view} />
        </div>
      </div>
      {!isDns(edge.protocol) && (
        <RequestRecords key={view.id} edge={edge} selected={store.sectionOf('http')?.['records']} />
      )}
    </div>
  );
}

function Numbers({ view: { edge, counts, seconds: period, values } }: { view: RequestView }): JSX.Element {
  const known = (value: number | null, format: (value: number) => string) => (value === null ? '–' : format(value));
  const part = (value: number | undefined) =>
    counts === undefined || value === undefined ? '–' : `${count(value)} of ${count(counts.requests)}`;
  const mean = counts === undefined ? 0 : counts.durations.reduce((sum, one) => sum + one, 0);
  return (
    <dl>
      <Fact name="role of the Pod">{edge.role}</Fact>
      <Fact name="requests">{period === 0 ? '–' : known(values.rate, (value) => `${rate(value)}/s`)}</Fact>
      <Fact name="errors">{`${part(counts?.failed)} (${known(values.failed, percent)})`}</Fact>
      <Fact name={isDns(edge.protocol) ? 'NXDOMAIN' : 'status 4xx'}>{part(counts?.declined)}</Fact>
      <Fact name="answer not read">{part(counts?.unread)}</Fact>
      <Fact name="mean">{counts === undefined || mean === 0 ? '–' : seconds(counts.seconds / mean)}</Fact>
      <Fact name="p50, p99">
        {known(values.p50, seconds)}, {known(values.p99, seconds)}
      </Fact>
      <Fact name="since start">{count(edge.requests)} requests</Fact>
    </dl>
  );
}

function Worst({ store, view: { edge } }: { store: Store; view: RequestView }): JSX.Element {
  const { namespace, pod } = edge;
  const recent = store.log.events.filter(({ event }) => Date.parse(event.time) >= store.nowMs - HISTORY_MS);
  const ofPod = recent.filter(({ event }) => event.pod === pod && event.namespace === namespace);
  // The names that a DNS server cannot resolve are in the events of its clients.
  const own = missingNames(ofPod);
  const names = !isDns(edge.protocol) ? [] : own.length > 0 ? own : missingNames(recent);
  const paths = worstPaths(isDns(edge.protocol) ? ofPod : eventsOf(ofPod, edge));
  const filters = pod === null || pod === '' ? {} : { pod: entityName(edge) };
  return (
    <>
      {paths.length === 0 && names.length === 0 && (
        <p class="quiet">
          {isDns(edge.protocol)
            ? 'No event of an unanswered query, or of a storm of missing names, within 5 minutes.'
            : 'No event of a failed or slow request within 5 minutes. Slow ones need the option slow of the probe http.'}
        </p>
      )}
      {paths.length > 0 && (
        <ul class="happened">
          {paths.slice(0, PATHS_SHOWN).map((path) => (
            <PathItem key={path.what} path={path} />
          ))}
        </ul>
      )}
      {names.length > 0 && (
        <>
          <p>Names that do not exist{own.length === 0 && ', from events of all Pods on this node'}:</p>
          <ul class="happened">
            {names.slice(0, PATHS_SHOWN).map(({ name, askedAs, asker }) => (
              <li key={name}>
                <span class="value">{name}</span>{' '}
                <span class="quiet">
                  asked for by {asker}
                  {askedAs !== undefined && `, as ${count(askedAs)} names of a search list`}
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
      <p class="links">
        <a href={formatPlace({ tab: 'events', filters })}>its events</a>
        {pod !== null && pod !== '' && (
          <a href={formatPlace({ tab: 'pods', filters: { q: entityName(edge) } })}>the Pod</a>
        )}
      </p>
    </>
  );
}

function PathItem({ path: { what, statuses, failed, slow, longest, last } }: { path: WorstPath }): JSX.Element {
  const parts = [...statuses].map(([status, times]) => `${count(times)} × ${status}`);
  if (slow > 0) parts.push(`${count(slow)} slow`);
  return (
    <li>
      <span class="value">{what}</span> <span class={failed > 0 ? 'bad' : 'warn'}>{parts.join(', ')}</span>
      <span class="sub quiet">
        at most {seconds(longest)}, last at {clock(last)}; events are limited, so there may be more
      </span>
    </li>
  );
}
