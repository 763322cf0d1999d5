import type { JSX } from 'preact';
import { bytesRate, clock, count, percent, rate, seconds, span } from '../format.ts';
import { lineSentence } from '../line.ts';
import { SortHead } from '../sort_head.tsx';
import { Sparkline } from '../sparkline.tsx';
import { Empty, type ViewProps } from '../view.tsx';
import { Cells, type Column } from './columns.tsx';
import { EdgeDetails, VerdictText } from './edge_details.tsx';
import type { EdgeNumbers, EdgeView } from './edge_view.ts';
import { arranged, type FlowFilter, type Others, othersOf, SHOWN_MAX } from './flow_list.ts';
import { useHeldOrder } from './held_order.ts';
import { MEASURES } from './measures.ts';

const COLUMNS: readonly Column<keyof EdgeNumbers>[] = [
  { key: 'bytes', title: 'Bytes/s', help: 'Payload in both directions, each byte once.', format: bytesRate },
  { key: 'connects', title: 'Connects/s', help: 'Connections that were established.', format: rate },
  {
    key: 'failed',
    title: 'Failed',
    help: 'Percentage of the connection attempts that failed.',
    format: percent,
    measure: 'failed',
  },
  {
    key: 'retransmitted',
    title: 'Retransmitted',
    help: 'Percentage of the sent TCP segments that were retransmitted.',
    format: percent,
    measure: 'retransmitted',
  },
  {
    key: 'roundTrip',
    title: 'Round trip',
    help: 'Mean of the smoothed round-trip times, with delayed acknowledgements.',
    format: seconds,
    measure: 'roundTrip',
  },
];

const NAME = 'name';
/** ID of the row with details. At most one row is open. */
const DETAILS = 'flow-details';
/** Number of columns without numbers: from and to, the problem, and the sparkline. */
const OTHER_COLUMNS = 3;
const NO_FILTER: FlowFilter = { q: '', role: '', only: '', by: '' };

export function FlowsView({ store, place, filter }: ViewProps): JSX.Element {
  const { flows } = store;
  const wanted: FlowFilter = { ...NO_FILTER, ...place.filters };
  const { edge: opened = '' } = place.filters;
  const matching = arranged(flows.edges, wanted);
  const sorted = useHeldOrder(matching, wanted.by, opened);
  if (flows.unavailable !== '') return <Unavailable reason={flows.unavailable} />;
  if (flows.report === undefined) return <Empty>The first values are being collected.</Empty>;
  const shown = sorted.slice(0, SHOWN_MAX);
  return (
    <section>
      <h2>Flows</h2>
      <Lead props={{ store, place, filter }} isHeld={shown.some(({ id }) => id === opened)} />
      <Filters wanted={wanted} filter={filter} />
      {opened !== '' && shown.every(({ id }) => id !== opened) && (
        <p class="quiet">The open edge has ended, or the filters leave it out.</p>
      )}
      {shown.length === 0 ? (
        <NoEdges all={flows.edges} wanted={wanted} />
      ) : (
        <table class="cards flows">
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
              <EdgeRow key={view.id} view={view} isOpen={view.id === opened} props={{ store, place, filter }} />
            ))}
            <OthersRow others={othersOf(flows, shown, wanted.role)} hasRole={wanted.role !== ''} />
          </tbody>
        </table>
      )}
    </section>
  );
}

function Unavailable({ reason }: { reason: string }): JSX.Element {
  return (
    <section>
      <h2>Flows</h2>
      <Empty>
        {reason.charAt(0).toUpperCase()}
        {reason.slice(1)}.
      </Empty>
    </section>
  );
}

function Lead({ props: { store, place }, isHeld }: { props: ViewProps; isHeld: boolean }): JSX.Element {
  const { history, edges, report } = store.flows;
  const { endMs = 0, seconds: period } = history;
  const omitted = report?.omitted ?? 0;
  const bad = edges.filter(({ verdict }) => verdict?.grade === 'alert').length;
  const notable = edges.filter(({ verdict }) => verdict?.grade === 'notice').length;
  return (
    <p class="quiet">
      {period > 0
        ? `Averages over the last ${span(period * 1_000)}, up to ${clock(endMs)}.`
        : 'Rates need two readings of the counters. The second one follows shortly.'}{' '}
      {isHeld
        ? 'While a row is open, the rows keep their order.'
        : (place.filters['by'] ?? '') === '' && 'Worst first.'}{' '}
      {count(edges.length)} {edges.length === 1 ? 'edge' : 'edges'}
      {period > 0 && (
        <>
          : {bad > 0 && <strong class="bad">{count(bad)} bad, </strong>}
          {notable > 0 && <strong class="warn">{count(notable)} worth a look, </strong>}
          {count(edges.length - bad - notable)} without trouble
        </>
      )}
      .
      {omitted > 0 &&
        ` ${count(omitted)} more edges are in no row and in no sum, because the agent sends at most ${count(edges.length)}.`}
    </p>
  );
}

function Filters({ wanted, filter }: { wanted: FlowFilter; filter: ViewProps['filter'] }): JSX.Element {
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

function NoEdges({ all, wanted }: { all: readonly EdgeView[]; wanted: FlowFilter }): JSX.Element {
  if (all.length === 0) {
    return <Empty>No TCP connections yet. New ones appear automatically, within a few seconds.</Empty>;
  }
  const quiet = arranged(all, { ...wanted, only: '' }).length;
  if (wanted.only !== '' && quiet > 0) {
    return <Empty>No trouble in this period: {count(quiet)} edges without.</Empty>;
  }
  return <Empty>None of the {count(all.length)} edges match the filters.</Empty>;
}

interface RowProps {
  readonly view: EdgeView;
  readonly isOpen: boolean;
  readonly props: ViewProps;
}

function EdgeRow({ view, isOpen, props: { store, filter } }: RowProps): JSX.Element {
  const { id, name, numbers, verdict, measure } = view;
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
        </th>
        <td data-label="Trouble" class={verdict === undefined ? 'calm' : ''}>
          {verdict === undefined ? <span class="quiet">–</span> : <VerdictText verdict={verdict} />}
        </td>
        <Cells columns={COLUMNS} values={numbers} troubles={view.troubles} />
        <td data-label="5 minutes">
          <Sparkline points={line} tone={verdict?.grade ?? 'ok'} label={lineSentence(title, line, format)} />
        </td>
      </tr>
      {isOpen && (
        <tr class="details" id={DETAILS}>
          <td colSpan={COLUMNS.length + OTHER_COLUMNS}>
            <EdgeDetails store={store} view={view} />
          </td>
        </tr>
      )}
    </>
  );
}

function OthersRow({ others: { edges, numbers }, hasRole }: { others: Others; hasRole: boolean }): JSX.Element {
  return (
    <tr class="others">
      <th scope="row">
        <span class="value">* all others</span>
        <span class="sub quiet">
          {edges > 0 && `${count(edges)} ${edges === 1 ? 'edge' : 'edges'}, and `}connections without a row of their own
        </span>
      </th>
      <td data-label="Trouble">
        <span class="quiet">{hasRole ? 'of this role' : '–'}</span>
      </td>
      <Cells columns={COLUMNS} values={numbers} />
      <td />
    </tr>
  );
}
