import type { JSX } from 'preact';
import { clock, percent, rate, span } from './format.ts';
import { COLUMNS, type Column, gradeOf, type TroubleView, viewsOf } from './trouble.ts';
import { Empty, type ViewProps } from './view.tsx';

const SHOWN_MAX = 200;

export function PodsView({ store, place: { filters }, filter }: ViewProps): JSX.Element {
  const { q = '', by = '' } = filters;
  const { rates } = store;
  const { trouble } = rates;
  if (trouble === undefined) return <Empty>The first values are being collected.</Empty>;
  const views = viewsOf(rates, q, by);
  return (
    <section>
      <h2>Pods</h2>
      <p class="quiet">
        {rates.seconds > 0
          ? `Rates are averages over the last ${span(rates.seconds * 1_000)}, up to ${clock(trouble.collected)}.`
          : 'Rates need two readings of the counters. The second one follows shortly.'}{' '}
        {by === '' ? 'Rows that exceed their thresholds the most come first.' : ''}
      </p>
      <search class="filters">
        <label>
          Pod
          <input
            type="search"
            value={q}
            placeholder="part of namespace/name"
            onInput={(event) => filter({ q: event.currentTarget.value })}
          />
        </label>
        <label class="phone">
          Order
          <select value={by} onChange={(event) => filter({ by: event.currentTarget.value })}>
            <option value="">worst first</option>
            {COLUMNS.map(({ key, title }) => (
              <option key={key} value={key}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </search>
      {views.length === 0 ? (
        <Empty>{q === '' ? 'There are no Pods on this node yet.' : `No Pod has “${q}” in its name.`}</Empty>
      ) : (
        <table class="cards pods">
          <thead>
            <tr>
              <SortHead title="Pod" help="" column="" by={by} filter={filter} />
              {COLUMNS.map(({ key, title, help }) => (
                <SortHead key={key} title={title} help={help} column={key} by={by} filter={filter} />
              ))}
            </tr>
          </thead>
          <tbody>
            {views.slice(0, SHOWN_MAX).map((view) => (
              <PodRow key={view.row.netns} view={view} />
            ))}
          </tbody>
        </table>
      )}
      {views.length > SHOWN_MAX && (
        <p class="quiet">{views.length - SHOWN_MAX} more rows are not shown; narrow the search.</p>
      )}
    </section>
  );
}

interface SortProps {
  readonly title: string;
  readonly help: string;
  readonly column: string;
  readonly by: string;
  readonly filter: ViewProps['filter'];
}

/** Header of a column by which the table can be sorted. The first column sorts by severity. */
function SortHead({ title, help, column, by, filter }: SortProps): JSX.Element {
  const isOwn = column === by;
  return (
    <th scope="col" class={column === '' ? '' : 'number'} aria-sort={isOwn && column !== '' ? 'descending' : undefined}>
      <button
        type="button"
        class="sort"
        aria-pressed={isOwn}
        title={column === '' ? 'worst first' : `${help} Click to sort by this column.`}
        onClick={() => filter({ by: column })}
      >
        {title}
      </button>
    </th>
  );
}

function PodRow({ view: { row, name, values } }: { view: TroubleView }): JSX.Element {
  return (
    <tr>
      <th scope="row" data-label="Pod">
        <span class="value">{name}</span> <span class="quiet">{row.gone ? `${row.kind}, ended` : row.kind}</span>
      </th>
      {COLUMNS.map((column, index) => (
        <Cell key={column.key} column={column} value={values[index] ?? null} />
      ))}
    </tr>
  );
}

const WORDS = { none: '', ok: '', notice: 'noticeable', alert: 'bad' } as const;

function Cell({ column: { title, unit, limit }, value }: { column: Column; value: number | null }): JSX.Element {
  const grade = gradeOf(value, limit);
  const text = value === null ? '–' : unit === 'share' ? percent(value) : rate(value);
  return (
    <td data-label={title} class={`number value grade-${grade}`}>
      {text}
      {WORDS[grade] !== '' && <span class="hidden"> {WORDS[grade]}</span>}
    </td>
  );
}
