import type { JSX } from 'preact';
import type { Measure, Verdict } from './verdict.ts';

/** Column of a table of edges with one of the numbers of a row. */
export interface Column<Key extends string> {
  readonly key: Key;
  readonly title: string;
  readonly help: string;
  readonly format: (value: number) => string;
  /** Measure whose problems determine the colour of the cell. */
  readonly measure?: Measure;
}

interface CellsProps<Key extends string> {
  readonly columns: readonly Column<Key>[];
  readonly values: Readonly<Record<Key, number | null>>;
  readonly troubles?: readonly Verdict[];
}

/** Cells of a row with its numbers. */
export function Cells<Key extends string>({ columns, values, troubles = [] }: CellsProps<Key>): JSX.Element {
  return (
    <>
      {columns.map(({ key, title, format, measure }, index) => {
        const value = values[key];
        const trouble = troubles.find((one) => one.measure === measure);
        const tone = trouble === undefined ? (value === null || value === 0 ? 'zero' : '') : `grade-${trouble.grade}`;
        return (
          <td
            key={key}
            data-label={title}
            class={`number value ${tone} ${index === 0 && troubles.length === 0 ? 'lead' : ''}`}
          >
            {value === null ? '–' : format(value)}
          </td>
        );
      })}
    </>
  );
}
