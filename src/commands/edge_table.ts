import type { EdgeSummary } from '#api/flows.ts';
import { namesText } from '#core/dns_names.ts';

/** Parts of the tables of edges: columns that fit the terminal, and short numbers. */

/** Maximum size of a table: characters per line, and number of lines. */
export interface TableRoom {
  readonly columns: number;
  readonly lines: number;
  /** Whether peers are shown by address instead of by name. */
  readonly addresses?: boolean;
}

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** Numbers are right-aligned. */
  readonly isNumber?: boolean;
  /**
   * If the table is too wide, columns with the highest number are dropped first. A column without a number is never
   * dropped, but its cells may be shortened.
   */
  readonly drop?: number;
}

const GAP = 2;
/**
 * Columns are dropped until each name has NAME_LONG characters. If no more columns can be dropped, names are shortened
 * to as few as NAME_MIN characters.
 */
const NAME_LONG = 18;
const NAME_MIN = 12;
/** Text for an unknown value. */
export const UNKNOWN = '-';
/** Number of lines of a terminal that are not rows of the table. */
export const LINES_AROUND = 3;

/** Returns the name of a peer, or its address if it has none. */
export function peerText({
  peer,
  peerKind,
  peerNamespace,
  peerName,
  dnsNames,
}: Pick<EdgeSummary, 'peer' | 'peerKind' | 'peerNamespace' | 'peerName' | 'dnsNames'>): string {
  if (peerKind === 'self') return 'self';
  if (dnsNames.length > 0) return namesText(dnsNames);
  const name = [peerNamespace, peerName].filter((part) => part !== '').join('/');
  return name === '' ? peer : name;
}

/** Returns the lines of a table, which starts with the titles of the columns. */
export function layOut<Row>(rows: readonly Row[], columns: readonly Column<Row>[], width: number): string[] {
  let kept = columns.map((column) => ({ ...column, cells: [column.title, ...rows.map(column.cell)] }));
  const widthOf = (cells: readonly string[]) => Math.max(...cells.map((cell) => [...cell].length));
  const needed = () =>
    kept.reduce((sum, { drop, title, cells }) => sum + GAP + leastWidth(drop, title, widthOf(cells)), -GAP);
  for (let worst = Math.max(...kept.map(({ drop = 0 }) => drop)); worst > 0 && needed() > width; worst--)
    kept = kept.filter(({ drop }) => drop !== worst);
  const widths = kept.map(({ cells }) => widthOf(cells));
  share(kept, widths, width);
  return [...Array(rows.length + 1).keys()].map((line) =>
    kept
      .map(({ cells, isNumber }, at) => pad(cells[line] ?? '', widths[at] ?? 0, isNumber === true))
      .join(' '.repeat(GAP))
      .trimEnd(),
  );
}

/** Columns of names, which are shortened before other columns are dropped. */
const NAMES: readonly string[] = ['POD', 'PEER'];

function leastWidth(drop: number | undefined, title: string, natural: number): number {
  return drop === undefined && NAMES.includes(title) ? Math.min(natural, NAME_LONG) : natural;
}

/** Narrows the name columns until the table fits. The widest name column is always narrowed first. */
function share(columns: readonly { readonly title: string }[], widths: number[], width: number): void {
  const names = columns.flatMap(({ title }, at) => (NAMES.includes(title) ? [at] : []));
  let excess = widths.reduce((sum, one) => sum + one + GAP, -GAP) - width;
  while (excess > 0) {
    const widest = names.reduce((a, b) => ((widths[b] ?? 0) > (widths[a] ?? 0) ? b : a));
    const now = widths[widest] ?? 0;
    if (now <= NAME_MIN) return;
    widths[widest] = now - 1;
    excess--;
  }
}

function pad(cell: string, width: number, isNumber: boolean): string {
  const text = cutTo(cell, width);
  const space = ' '.repeat(Math.max(0, width - [...text].length));
  return isNumber ? space + text : text + space;
}

/** Shortens a string in the middle, because Pod names and addresses often differ only at the end. */
export function cutTo(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  const tail = Math.floor((width - 1) / 2);
  return `${characters.slice(0, width - 1 - tail).join('')}…${characters.slice(characters.length - tail).join('')}`;
}

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];
const THOUSAND = 1_000;

/** Formats a number with at most five characters: `0`, `0.3`, `17`, `1.2k`, `345M`. */
export function compact(value: number): string {
  let scaled = value;
  let unit = 0;
  while (scaled >= THOUSAND - 0.5 && unit < UNITS.length - 1) {
    scaled /= THOUSAND;
    unit++;
  }
  const digits = Number.isInteger(scaled) || scaled >= 9.95 ? 0 : 1;
  const text = scaled > 0 && scaled < 0.05 ? '<0.1' : scaled.toFixed(digits);
  return `${text}${UNITS[unit]}`;
}

const MICROSECONDS = 1e6;

/** Formats a duration: `500us`, `12ms`, `1.5s`. */
export function durationText(seconds: number | null): string {
  if (seconds === null) return UNKNOWN;
  if (seconds >= 1) return `${seconds.toFixed(1)}s`;
  const ms = seconds * THOUSAND;
  return ms >= 1 ? `${ms.toFixed(ms < 10 ? 1 : 0)}ms` : `${Math.round(seconds * MICROSECONDS)}us`;
}
