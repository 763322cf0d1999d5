import type { Place } from '../location.ts';

/** Selection and filters in the URL of the map. */
export interface Wanted {
  /** ID of a box, a line or an edge; empty if nothing is chosen. */
  readonly sel: string;
  readonly q: string;
  /** The only band that is not dimmed; empty if no band is dimmed. */
  readonly ns: string;
  readonly isOnly: boolean;
  /** Level of detail; if empty, it is chosen automatically. */
  readonly detail: string;
  /** Bands that are expanded at the level `namespaces`; if undefined, they are chosen automatically. */
  readonly opened: readonly string[] | undefined;
}

const SEPARATOR = ',';
/** Value for an empty list of expanded bands, because empty values are left out of the URL. */
const NONE = '-';

export function selectionOf({
  sel = '',
  q = '',
  ns = '',
  only = '',
  detail = '',
  open = '',
}: Place['filters']): Wanted {
  const opened = open === '' ? undefined : open.split(SEPARATOR).filter((band) => band !== NONE);
  return { sel, q, ns, isOnly: only === '1', detail, opened };
}

export function openText(bands: Iterable<string>): string {
  const text = [...bands].sort().join(SEPARATOR);
  return text === '' ? NONE : text;
}
