import type { JSX } from 'preact';
import { visible } from '#core/inert.ts';
import type { FlowBook } from '../flows/book.ts';
import { count } from '../format.ts';
import type { Snapshot } from './model.ts';
import { fullNameOf } from './names.ts';
import { EdgeList } from './panel.tsx';
import { type Box, bandOf, bandTitle } from './picture.ts';
import { PodsOf } from './pods_of.tsx';
import { membersText } from './texts.ts';

interface Props {
  readonly box: Box;
  readonly snapshot: Snapshot;
  readonly flows: FlowBook;
  readonly pick: (id: string) => void;
}

/** Shows the edges of the nodes that a box represents. */
export function BoxPanel({ box, snapshot, flows, pick }: Props): JSX.Element {
  const { members } = box;
  const own = new Set(members);
  const { edges, nodes } = snapshot;
  const asks = edges.filter(({ source }) => own.has(source.id));
  const asked = edges.filter(({ source, target }) => own.has(target.id) && !own.has(source.id));
  const [first] = members.flatMap((id) => nodes.get(id) ?? []);
  return (
    <>
      {first !== undefined && members.length === 1 && (
        <p class="quiet">
          {first.kind} {fullNameOf(first)}, {first.local ? 'on this node' : 'elsewhere'}
          {first.zone === null ? '' : `, zone ${first.zone}`}
          {first.services.length > 0 && `, behind ${servicesText(first.services)}`}
        </p>
      )}
      {first !== undefined && members.length > 1 && (
        <p class="quiet">
          {membersText(box)} of {bandTitle(bandOf(first), true)}
        </p>
      )}
      {asks.length + asked.length === 0 && <p class="quiet">No connection in this period.</p>}
      <EdgeList title="Asks" edges={asks} pick={pick} />
      <EdgeList title="Asked by" edges={asked} pick={pick} />
      {first?.local === true && members.length === 1 && <PodsOf flows={flows} node={first} />}
    </>
  );
}

const SERVICES_MAX = 5;

function servicesText(services: readonly string[]): string {
  const others = services.length - SERVICES_MAX;
  const shown = services.slice(0, SERVICES_MAX).map(visible).join(', ');
  return `the Service${services.length === 1 ? '' : 's'} ${shown}${others > 0 ? ` and ${count(others)} more` : ''}`;
}
