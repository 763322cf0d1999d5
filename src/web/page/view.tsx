import type { ComponentChildren, JSX } from 'preact';
import type { Place } from './location.ts';
import type { Store } from './store.ts';

/** Properties of the component for a tab. */
export interface ViewProps {
  readonly store: Store;
  readonly place: Place;
  /** Changes some of the filters, which are stored in the URL. */
  readonly filter: (filters: Place['filters']) => void;
}

/** Explains why there is nothing to show. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}
