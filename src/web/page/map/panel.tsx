import type { JSX } from 'preact';
import { Chart } from '../chart.tsx';
import { HISTORY_MS } from '../flows/history.ts';
import { TroubleIcon } from '../flows/icon.tsx';
import { lineOf, MEASURES } from '../flows/measures.ts';
import { GRADE_WORDS, type Verdict } from '../flows/verdict.ts';
import { bytesRate, count } from '../format.ts';
import { lineSentence } from '../line.ts';
import { formatPlace } from '../location.ts';
import type { MapBook } from './book.ts';
import { Numbers, Requests, Why } from './edge_facts.tsx';
import type { Fault } from './faults.ts';
import { Happened } from './happened.tsx';
import type { EdgeView, Snapshot } from './model.ts';
import { nameOf } from './names.ts';
import { sinceText } from './since.ts';
import { endsOf, outsideText, requestsText } from './texts.ts';
import { measureOf } from './verdict.ts';

const LISTED_MAX = 40;
/** Maximum number of edges in *Look at first*. The key `n` selects the other edges. */
const FIRST_MAX = 8;
/** Maximum number of other edges to list for each of them. */
const OTHERS_MAX = 3;

interface PanelProps {
  readonly book: MapBook;
  readonly snapshot: Snapshot;
  readonly pick: (id: string) => void;
}

export function TroubleText({ trouble }: { trouble: Verdict }): JSX.Element {
  return (
    <span class={`verdict tone-${trouble.grade}`}>
      <TroubleIcon kind={trouble.kind} /> {trouble.text}
      <span class="hidden">, {GRADE_WORDS[trouble.grade]}</span>
    </span>
  );
}

/** Lists the problems, worst first, and shows the traffic of the whole map. */
export function LookAtFirst({ book, snapshot, pick }: PanelProps): JSX.Element {
  const { faults, edges, seconds: period } = snapshot;
  const line = lineOf(book.points(edges.map(({ id }) => id)), 'bytes', book.history.endMs ?? 0);
  const { format } = MEASURES.bytes;
  return (
    <>
      <h3>Look at first</h3>
      {faults.length === 0 && (
        <p class="quiet">
          {period === 0 ? 'Rates need a second reading, which follows shortly.' : 'No edge is in trouble.'}
        </p>
      )}
      <ol class="first">
        {faults.slice(0, FIRST_MAX).map((fault) => (
          <FirstItem key={fault.edge.id} fault={fault} book={book} pick={pick} />
        ))}
      </ol>
      {faults.length > FIRST_MAX && <p class="quiet">{count(faults.length - FIRST_MAX)} more are on the map.</p>}
      <h3>Bytes on this map</h3>
      <Chart
        points={line}
        tone="ok"
        format={format}
        label={lineSentence('Bytes per second on this map', line, format)}
        from="5 min ago"
        to="now"
      />
      <p class="keys quiet">
        <kbd>n</kbd> <kbd>p</kbd> next and previous trouble, <kbd>t</kbd> only trouble, <kbd>/</kbd> find, arrows from
        box to box, <kbd>Enter</kbd> opens, <kbd>Esc</kbd> closes, <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom
      </p>
    </>
  );
}

interface FirstItemProps {
  readonly fault: Fault<EdgeView>;
  readonly book: MapBook;
  readonly pick: PanelProps['pick'];
}

function FirstItem({ fault: { edge, others }, book, pick }: FirstItemProps): JSX.Element {
  const { trouble } = edge;
  if (trouble === undefined) return <li />;
  const since = sinceText(book, edge);
  return (
    <li class={trouble.grade}>
      <button type="button" class="row" onClick={() => pick(edge.id)}>
        <TroubleText trouble={trouble} />
        <span class="value sub">{edge.title}</span>
      </button>
      <span class="sub">
        {trouble.cause} {since}
      </span>
      <Others edges={others} pick={pick} />
    </li>
  );
}

/** Lists the other edges of a fault. */
export function Others({ edges, pick }: { edges: readonly EdgeView[]; pick: PanelProps['pick'] }): JSX.Element | null {
  if (edges.length === 0) return null;
  return (
    <ul class="others sub quiet">
      {edges.slice(0, OTHERS_MAX).map(({ id, title, trouble }) => (
        <li key={id}>
          also{' '}
          <button type="button" class="value" onClick={() => pick(id)}>
            {title}
          </button>
          : {trouble?.text}
        </li>
      ))}
      {edges.length > OTHERS_MAX && <li>and {count(edges.length - OTHERS_MAX)} more</li>}
    </ul>
  );
}

interface EdgePanelProps {
  readonly edge: EdgeView;
  readonly book: MapBook;
  /** Changes of the node's network, newest first. */
  readonly changes: Snapshot['changes'];
  /** Whether the verdict is already shown above. */
  readonly isHeaded?: boolean;
}

/** Shows everything about one edge. */
export function EdgePanel({ edge, book, changes, isHeaded = false }: EdgePanelProps): JSX.Element {
  const { trouble, signs } = edge;
  const measure = measureOf(trouble);
  const { title, format } = MEASURES[measure];
  const { endMs = 0 } = book.history;
  const line = lineOf(book.points([edge.id]), measure, endMs);
  return (
    <>
      {trouble !== undefined && (
        <>
          {!isHeaded && (
            <p>
              <TroubleText trouble={trouble} />
            </p>
          )}
          <p>
            {trouble.cause} {sinceText(book, edge)}
          </p>
        </>
      )}
      <p class="quiet">
        {endsOf(edge)}
        {outsideText(edge)}
      </p>
      <h3>{title}</h3>
      <Chart
        points={line}
        tone={trouble?.grade ?? 'ok'}
        format={format}
        label={lineSentence(title, line, format)}
        from="5 min ago"
        to="now"
        marks={changes.map(({ event }) => 1 - (endMs - Date.parse(event.time)) / HISTORY_MS)}
      />
      <Numbers edge={edge} />
      <Requests edge={edge} />
      <Why edge={edge} />
      <Happened events={signs?.events ?? []} changes={changes} />
      <Links edge={edge} />
    </>
  );
}

/** Shows links to other tabs, which contain only Pods of this node. */
function Links({ edge: { source, target, edge } }: { edge: EdgeView }): JSX.Element {
  const talks = nameOf(target.name === '' ? source : target);
  const causes = nameOf(source.local ? source : target);
  const owner = nameOf(target.local ? target : source);
  return (
    <p class="links">
      <a href={formatPlace({ tab: 'flows', filters: { q: talks } })}>its flows</a>
      {edge?.requests && <a href={formatPlace({ tab: 'requests', filters: { q: talks } })}>its requests</a>}
      <a href={formatPlace({ tab: 'events', filters: { pod: causes } })}>events of {causes}</a>
      <a href={formatPlace({ tab: 'pods', filters: { q: owner } })}>Pods of {owner}</a>
    </p>
  );
}

interface EdgesProps {
  readonly title: string;
  readonly edges: readonly EdgeView[];
  readonly pick: (id: string) => void;
}

export function EdgeList({ title, edges, pick }: EdgesProps): JSX.Element | null {
  if (edges.length === 0) return null;
  return (
    <>
      <h3>
        {title} ({count(edges.length)})
      </h3>
      <ul class="mini">
        {edges.slice(0, LISTED_MAX).map((edge) => (
          <li key={edge.id}>
            <button type="button" class="row value" onClick={() => pick(edge.id)}>
              {edge.title}
            </button>
            <span>
              {edge.trouble === undefined ? (
                <span class="quiet">
                  {bytesRate(edge.bytesRate)}
                  {requestsText([edge])}
                </span>
              ) : (
                <TroubleText trouble={edge.trouble} />
              )}
            </span>
          </li>
        ))}
      </ul>
      {edges.length > LISTED_MAX && <p class="quiet">and {count(edges.length - LISTED_MAX)} more</p>}
    </>
  );
}
