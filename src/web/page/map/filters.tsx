import type { ComponentChildren, JSX } from 'preact';
import { count } from '../format.ts';
import type { ViewProps } from '../view.tsx';
import type { Snapshot } from './model.ts';
import { bandOf, bandTitle } from './picture.ts';
import type { Wanted } from './wanted.ts';

interface FiltersProps {
  readonly snapshot: Snapshot;
  readonly wanted: Wanted;
  readonly filter: ViewProps['filter'];
  readonly isCluster: boolean;
  readonly children?: ComponentChildren;
  /** Buttons that follow the filters. */
  readonly tools?: ComponentChildren;
}

/** ID of the search field, which the key `/` focuses. */
export const FIND = 'map-find';

export function MapFilters({ snapshot, wanted, filter, isCluster, children, tools }: FiltersProps): JSX.Element {
  const bands = [...new Set([...snapshot.nodes.values()].map(bandOf))].sort();
  return (
    <search class="filters">
      <label>
        Find
        <input
          id={FIND}
          type="search"
          value={wanted.q}
          placeholder="part of a name"
          onInput={(event) => filter({ q: event.currentTarget.value })}
        />
      </label>
      <label>
        Namespace
        <select value={wanted.ns} onChange={(event) => filter({ ns: event.currentTarget.value })}>
          <option value="">all</option>
          {bands
            .filter((band) => band !== '')
            .map((band) => (
              <option key={band} value={band}>
                {bandTitle(band, isCluster)}
              </option>
            ))}
        </select>
      </label>
      {children}
      <label class="check">
        <input
          type="checkbox"
          checked={wanted.isOnly}
          onChange={(event) => filter({ only: event.currentTarget.checked ? '1' : '' })}
        />
        Only trouble
      </label>
      {tools}
    </search>
  );
}

export function noneText({ edges, trouble }: Snapshot, { isOnly }: Wanted): string {
  return isOnly && trouble.length === 0
    ? `No trouble in this period: ${count(edges.length)} quiet connections.`
    : 'No connection matches the filters.';
}
