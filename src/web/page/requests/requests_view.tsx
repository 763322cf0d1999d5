import type { JSX } from 'preact';
import { Cells, type Column } from '../flows/columns.tsx';
import { VerdictText } from '../flows/edge_details.tsx';
import { useHeldOrder } from '../flows/held_order.ts';
import { MEASURES } from '../flows/measures.ts';
import { clock, count, percent, rate, seconds, span } from '../format.ts';
import { lineSentence } from '../line.ts';
import { SortHead } from '../sort_head.tsx';
import { Sparkline } from '../sparkline.tsx';
import { Empty, type ViewProps } from '../view.tsx';
import { whatToEnable } from './enabling.ts';
import { originsOf } from './origin.ts';
import { RequestDetails } from './request_details.tsx';
import { arranged, type Others, othersOf, type RequestFilter, SHOWN_MAX } from './request_list.ts';
import { protocolText, type RequestValues, type RequestView } from './request_view.ts';
import { leastRead, readText, sumOf } from './unread.ts';

const COLUMNS: readonly Column<keyof RequestValues>[] = [
  { key: 'rate', title: 'Requests/s', help: 'Requests that have ended.', format: rate },
  {
    key: 'failed',
    title: 'Errors',
    help: 'Percentage of the requests that were answered with an error of the server, or not at all.',
    format: percent,
    measure: 'requestErrors',
  },
  {
    key: 'declined',
    title: 'Declined',
    help: 'Percentage of the requests that were answered with a status from 400 to 499, or with NXDOMAIN.',
    format: percent,
    measure: 'declined',
  },
  {
    key: 'p50',
    title: 'p50',
    help: 'Half of the answers came within this time, estimated from buckets.',
    format: seconds,
  },
  {
    key: 'p99',
    title: 'p99',
    help: '99 of 100 answers came within this time, estimated from buckets.',
    format: seconds,
    measure: 'requestTime',
  },
];

const NAME = 'name';
/** ID of the row with details. At most one row is open. */
const DETAILS = 'request-details';
/** Number of columns without numbers: from and to, the problem, and the sparkline. */
const OTHER_COLUMNS = 3;
const NO_FILTER: RequestFilter = { q: '', role: '', protocol: '', only: '', by: '' };

export function RequestsView({ store, place, filter }: ViewProps): JSX.Element {
  const { requests, flows } = store;
  const wanted: RequestFilter = { ...NO_FILTER, ...place.filters };
  const { edge: opened = '' } = place.filters;
  const sorted = useHeldOrder(arranged(requests.edges, wanted), wanted.by, opened);
  const shown = sorted.slice(0, SHOWN_MAX);
  const origins = originsOf(requests.edges);
  const missing = flows.unavailable === '' ? whatToEnable(store.answers.probes ?? []) : [];
  return (
    <section>
      <h2>Requests</h2>
      <Lead props={{ store, place, filter }} isHeld={shown.some(({ id }) => id === opened)} />
      {missing.map((sentence) => (
        <p key={sentence} class="quiet">
          {sentence}
        </p>
      ))}
      {requests.edges.length > 0 && <Filters wanted={wanted} filter={filter} />}
      {opened !== '' && shown.every(({ id }) => id !== opened) && (
        <p class="quiet">The open edge has ended, or the filters leave it out.</p>
      )}
      {shown.length === 0 ? (
        <NoRequests props={{ store, place, filter }} wanted={wanted} isOff={missing.length > 1} />
      ) : (
        <table class="cards flows requests">
          <thead>
            <tr>
              <SortHead
                title="From → to : port"
                help="by name"
                column={NAME}
                by={wanted.by}
                filter={filter}
                direction="ascending"
                isText
              />
              <SortHead title="Trouble" help="worst first" column="" by={wanted.by} filter={filter} isText />
              {COLUMNS.map(({ key, title, help }) => (
                <SortHead
                  key={key}
                  title={title}
                  help={`${help} Click to sort by this column.`}
                  column={key}
                  by={wanted.by}
                  filter={filter}
                  direction="descending"
                />
              ))}
              <th scope="col">5 minutes</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((view) => (
              <RequestRow
                key={view.id}
                view={view}
                origin={origins.get(view.id)}
                isOpen={view.id === opened}
                props={{ store, place, filter }}
              />
            ))}
            <OthersRow others={othersOf(requests, shown, wanted)} />
          </tbody>
        </table>
      )}
    </section>
  );
}

/** Says what the numbers are, and how much they leave out. */
function Lead({ props: { store, place }, isHeld }: { props: ViewProps; isHeld: boolean }): JSX.Element {
  const { history, edges, report } = store.requests;
  const { endMs = 0, seconds: period } = history;
  const pods = report?.connections ?? [];
  const least = leastRead(pods);
  const unread = edges.reduce((sum, { counts }) => sum + (counts?.unread ?? 0), 0);
  const all = edges.reduce((sum, { counts }) => sum + (counts?.requests ?? 0), 0);
  const omitted = report?.omitted ?? 0;
  return (
    <>
      <p class="quiet">
        Counted in the kernel; a duration ends with the first byte of the answer.{' '}
        {period > 0 && `Averages over the last ${span(period * 1_000)}, up to ${clock(endMs)}.`}{' '}
        {period === 0 && edges.length > 0 && 'Rates need two readings of the counters. The second one follows shortly.'}{' '}
        {isHeld
          ? 'While a row is open, the rows keep their order.'
          : edges.length > 0 && (place.filters['by'] ?? '') === '' && 'Worst first.'}{' '}
        {unread > 0 && `${percent(unread / all)} of the answers could not be read.`}
        {omitted > 0 && ` ${count(omitted)} more edges are in no row and in no sum.`}
      </p>
      {pods.length > 0 && (
        <p class="quiet">
          {readText(sumOf(pods))}
          {least.length > 0 && ` Least: ${least.join(', ')}.`}
        </p>
      )}
    </>
  );
}

function Filters({ wanted, filter }: { wanted: RequestFilter; filter: ViewProps['filter'] }): JSX.Element {
  return (
    <search class="filters">
      <label class="wide">
        Find
        <input
          type="search"
          value={wanted.q}
          placeholder="Pod, peer, port"
          onInput={(event) => filter({ q: event.currentTarget.value })}
        />
      </label>
      <label>
        What
        <select value={wanted.protocol} onChange={(event) => filter({ protocol: event.currentTarget.value })}>
          <option value="">everything</option>
          <option value="http">HTTP</option>
          <option value="dns">DNS</option>
        </select>
      </label>
      <label>
        Role of the Pod
        <select value={wanted.role} onChange={(event) => filter({ role: event.currentTarget.value })}>
          <option value="">both</option>
          <option value="client">client</option>
          <option value="server">server</option>
        </select>
      </label>
      <label class="phone">
        Order
        <select value={wanted.by} onChange={(event) => filter({ by: event.currentTarget.value })}>
          <option value="">worst first</option>
          <option value={NAME}>From → to : port</option>
          {COLUMNS.map(({ key, title }) => (
            <option key={key} value={key}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={wanted.only !== ''}
          onChange={(event) => filter({ only: event.currentTarget.checked ? 'trouble' : '' })}
        />
        Only trouble
      </label>
    </search>
  );
}

interface NoRequestsProps {
  readonly props: ViewProps;
  readonly wanted: RequestFilter;
  /** Whether no probe counts requests. */
  readonly isOff: boolean;
}

function NoRequests({ props: { store }, wanted, isOff }: NoRequestsProps): JSX.Element {
  const { requests, flows } = store;
  if (flows.unavailable !== '') {
    return <Empty>Requests are counted by peer only while flow runs: {flows.unavailable}.</Empty>;
  }
  if (flows.report === undefined) return <Empty>The first values are being collected.</Empty>;
  if (isOff) return <Empty>No requests: nothing counts them.</Empty>;
  const all = requests.edges.length;
  if (all === 0) return <Empty>No requests yet. New ones appear automatically, within a few seconds.</Empty>;
  const quiet = arranged(requests.edges, { ...wanted, only: '' }).length;
  if (wanted.only !== '' && quiet > 0) return <Empty>No trouble in this period: {count(quiet)} edges without.</Empty>;
  return <Empty>None of the {count(all)} edges match the filters.</Empty>;
}

interface RowProps {
  readonly view: RequestView;
  /** Edge where the trouble of this one may begin; undefined if it may begin here. */
  readonly origin: RequestView | undefined;
  readonly isOpen: boolean;
  readonly props: ViewProps;
}

function RequestRow({ view, origin, isOpen, props: { store, filter } }: RowProps): JSX.Element {
  const { id, name, edge, values, verdict, measure } = view;
  const line = view.line(measure);
  const { title, format } = MEASURES[measure];
  const toggle = () => filter({ edge: isOpen ? '' : id });
  return (
    <>
      <tr class={`${isOpen ? 'open' : ''} row-${verdict?.grade ?? 'ok'}`}>
        <th scope="row" class="value">
          <button type="button" class="row" aria-expanded={isOpen} aria-controls={DETAILS} onClick={toggle}>
            {name}
          </button>
          <span class="sub quiet">
            {protocolText(edge.protocol)}, {edge.role === 'server' ? 'at the server' : 'at the client'}
            {!name.includes(edge.peer) && `, ${edge.role === 'server' ? 'from' : 'to'} ${edge.peer}`}
          </span>
        </th>
        <td data-label="Trouble" class={verdict === undefined ? 'calm' : ''}>
          {verdict === undefined ? <span class="quiet">–</span> : <VerdictText verdict={verdict} />}
          {origin !== undefined && <span class="sub quiet">may come from {origin.to}</span>}
        </td>
        <Cells columns={COLUMNS} values={values} troubles={view.troubles} />
        <td data-label="5 minutes">
          <Sparkline points={line} tone={verdict?.grade ?? 'ok'} label={lineSentence(title, line, format)} />
        </td>
      </tr>
      {isOpen && (
        <tr class="details" id={DETAILS}>
          <td colSpan={COLUMNS.length + OTHER_COLUMNS}>
            <RequestDetails store={store} view={view} />
          </td>
        </tr>
      )}
    </>
  );
}

function OthersRow({ others: { edges, values } }: { others: Others }): JSX.Element {
  return (
    <tr class="others">
      <th scope="row">
        <span class="value">* all others</span>
        <span class="sub quiet">
          {edges > 0 && `${count(edges)} ${edges === 1 ? 'edge' : 'edges'}, and `}requests without a row of their own
        </span>
      </th>
      <td data-label="Trouble">
        <span class="quiet">–</span>
      </td>
      <Cells columns={COLUMNS} values={values} />
      <td />
    </tr>
  );
}
