import type { JSX } from 'preact';
import type { ViewProps } from './view.tsx';

interface SortProps {
  readonly title: string;
  readonly help: string;
  /** Value of the filter `by` that selects this column; empty for the default order. */
  readonly column: string;
  readonly by: string;
  readonly filter: ViewProps['filter'];
  /** Whether the column contains text instead of numbers. */
  readonly isText?: boolean;
  /** Sort direction; undefined if the rows are not ordered by the values of the column. */
  readonly direction?: 'ascending' | 'descending' | undefined;
}

/** Header of a column by which the user can sort the table. */
export function SortHead({ title, help, column, by, filter, isText = false, direction }: SortProps): JSX.Element {
  const isOwn = column === by;
  return (
    <th scope="col" class={isText ? '' : 'number'} aria-sort={isOwn ? direction : undefined}>
      <button type="button" class="sort" aria-pressed={isOwn} title={help} onClick={() => filter({ by: column })}>
        {title}
      </button>
    </th>
  );
}
