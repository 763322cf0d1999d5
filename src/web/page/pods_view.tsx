import type { JSX } from 'preact';
import { clock, entityName, percent, rate, span } from './format.ts';
import { lineSentence } from './line.ts';
import { SortHead } from './sort_head.tsx';
import { Sparkline } from './sparkline.tsx';
import { PodTimeline } from './timeline/pod_timeline.tsx';
import { COLUMNS, type Column, gradeOf, type Rates, type TroubleView, viewsOf } from './trouble.ts';
import { Empty, type ViewProps } from './view.tsx';

const SHOWN_MAX = 200;

export function PodsView({ store, place: { filters }, filter }: ViewProps): JSX.Element {
  const { q = '', by = '', pod = '' } = filters;
  const { rates } = store;
  const { trouble } = rates;
  if (trouble === undefined) return <Empty>The first values are being collected.</Empty>;
  const views = viewsOf(rates, q, by);
  const opened = trouble.entities.find((row) => pod !== '' && entityName(row) === pod);
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
      {opened !== undefined && <PodTimeline store={store} row={opened} close={() => filter({ pod: '' })} />}
      {pod !== '' && opened === undefined && <p class="quiet">{pod} is not on this node.</p>}
      {views.length === 0 ? (
        <Empty>{q === '' ? 'There are no Pods on this node yet.' : `No Pod has “${q}” in its name.`}</Empty>
      ) : (
        <table class="cards pods">
          <thead>
            <tr>
              <SortHead title="Pod" help="worst first" column="" by={by} filter={filter} isText />
              {COLUMNS.map(({ key, title, help }) => (
                <SortHead
                  key={key}
                  title={title}
                  help={`${help} Click to sort by this column.`}
                  column={key}
                  by={by}
                  filter={filter}
                  direction="descending"
                />
              ))}
              <th scope="col" title="The worst number of each row.">
                5 minutes
              </th>
            </tr>
          </thead>
          <tbody>
            {views.slice(0, SHOWN_MAX).map((view) => (
              <PodRow key={view.row.netns} view={view} rates={rates} open={() => filter({ pod: view.name })} />
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

interface RowProps {
  readonly view: TroubleView;
  readonly rates: Rates;
  /** Shows the history of the Pod. */
  readonly open: () => void;
}

function PodRow({ view, rates, open }: RowProps): JSX.Element {
  const { row, name, values, worst } = view;
  const line = rates.line(row, worst);
  const grade = gradeOf(values[COLUMNS.indexOf(worst)] ?? null, worst.limit);
  return (
    <tr>
      <th scope="row" data-label="Pod">
        <button type="button" class="toggle value" title="in time" onClick={open}>
          {name}
        </button>{' '}
        <span class="quiet">{row.gone ? `${row.kind}, ended` : row.kind}</span>
      </th>
      {COLUMNS.map((column, index) => (
        <Cell key={column.key} column={column} value={values[index] ?? null} />
      ))}
      <td data-label={`5 minutes: ${worst.title}`}>
        <Sparkline
          points={line}
          tone={grade === 'none' ? 'ok' : grade}
          label={lineSentence(worst.title, line, (value) => textOf(worst, value))}
        />
      </td>
    </tr>
  );
}

const WORDS = { none: '', ok: '', notice: 'noticeable', alert: 'bad' } as const;

function textOf({ unit }: Column, value: number | null): string {
  if (value === null) return '–';
  return unit === 'share' ? percent(value) : rate(value);
}

function Cell({ column, value }: { column: Column; value: number | null }): JSX.Element {
  const { title, limit } = column;
  const grade = gradeOf(value, limit);
  return (
    <td data-label={title} class={`number value grade-${grade}`}>
      {textOf(column, value)}
      {WORDS[grade] !== '' && <span class="hidden"> {WORDS[grade]}</span>}
    </td>
  );
}
