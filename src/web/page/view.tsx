import type { ComponentChildren, JSX } from 'preact';
import type { Place } from './location.ts';
import type { Store } from './store.ts';

/** Data from which a tab is drawn. */
export interface ViewProps {
  readonly store: Store;
  readonly place: Place;
  /** Sets some of the filters, which are kept in the URL. */
  readonly filter: (filters: Place['filters']) => void;
}

/** Says why there is nothing to see. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}
