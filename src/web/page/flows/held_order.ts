import { useRef } from 'preact/hooks';
import { inOrderOf } from './flow_list.ts';

/** Keeps the order of the rows while one of them is open, because a row must not move while the user is reading it. */
export function useHeldOrder<Row extends { readonly id: string }>(
  rows: readonly Row[],
  by: string,
  opened: string,
): readonly Row[] {
  const held = useRef<{ readonly by: string; readonly ids: readonly string[] } | undefined>(undefined);
  if (opened === '') held.current = undefined;
  else if (held.current?.by !== by && rows.length > 0) held.current = { by, ids: rows.map(({ id }) => id) };
  return held.current === undefined ? rows : inOrderOf(held.current.ids, rows);
}
