import type { JSX } from 'preact';
import { lineOf, MEASURES } from '../flows/measures.ts';
import { bytesRate, count } from '../format.ts';
import { lineSentence } from '../line.ts';
import { Sparkline } from '../sparkline.tsx';
import type { MapBook } from './book.ts';
import type { EdgeView, Snapshot } from './model.ts';
import { EdgePanel, Others, TroubleText } from './panel.tsx';
import { requestsText } from './texts.ts';
import { measureOf, stateOf } from './verdict.ts';

const SHOWN_MAX = 100;

interface CardsProps {
  readonly book: MapBook;
  readonly edges: readonly EdgeView[];
  /** Returns the other edges of the fault that a card shows. */
  readonly othersOf: (id: string) => readonly EdgeView[];
  readonly changes: Snapshot['changes'];
  readonly chosen: string;
  readonly pick: (id: string) => void;
}

/** Shows the edges as cards, worst first, if the window is too narrow for the picture. */
export function Cards({ book, edges, othersOf, changes, chosen, pick }: CardsProps): JSX.Element {
  return (
    <>
      <ol class="edge-cards">
        {edges.slice(0, SHOWN_MAX).map((edge) => (
          <Card
            key={edge.id}
            {...{ book, edge, changes, pick }}
            others={othersOf(edge.id)}
            isOpen={edge.id === chosen}
          />
        ))}
      </ol>
      {edges.length > SHOWN_MAX && (
        <p class="quiet">{count(edges.length - SHOWN_MAX)} more edges are not shown; narrow the search.</p>
      )}
    </>
  );
}

interface CardProps {
  readonly book: MapBook;
  readonly edge: EdgeView;
  readonly others: readonly EdgeView[];
  readonly changes: Snapshot['changes'];
  readonly isOpen: boolean;
  readonly pick: (id: string) => void;
}

function Card({ book, edge, others, changes, isOpen, pick }: CardProps): JSX.Element {
  const { trouble, title, bytesRate: bytes } = edge;
  const measure = measureOf(trouble);
  const line = lineOf(book.points([edge.id]), measure, book.history.endMs ?? 0);
  return (
    <li class={stateOf(trouble)}>
      <button type="button" aria-expanded={isOpen} onClick={() => pick(isOpen ? '' : edge.id)}>
        <span class="value title">{title}</span>
        {trouble === undefined ? (
          <span class="quiet">
            {bytesRate(bytes)}
            {requestsText([edge])}
          </span>
        ) : (
          <TroubleText trouble={trouble} />
        )}
        <Sparkline
          points={line}
          tone={trouble?.grade ?? 'ok'}
          label={lineSentence(MEASURES[measure].title, line, MEASURES[measure].format)}
        />
      </button>
      <Others edges={others} pick={pick} />
      {isOpen && (
        <div class="opened">
          <EdgePanel edge={edge} book={book} changes={changes} isHeaded />
        </div>
      )}
    </li>
  );
}
