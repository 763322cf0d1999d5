import type { FlowsSummary } from '#api/flows.ts';
import { visible } from '#core/inert.ts';
import { retransmittedShare } from '#core/worst_first.ts';
import { ownerText } from './agent_client.ts';
import { type EdgeCounts, type EdgeRow, growthOf, secondsBetween, totalsOf } from './flow_rates.ts';

/** Maximum size of a table: characters in a line, and number of lines. */
export interface TableRoom {
  readonly columns: number;
  readonly lines: number;
}

interface Column {
  readonly title: string;
  readonly cell: (row: EdgeRow) => string;
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
 * Columns are dropped only to leave NAME_LONG characters for each name. If no more columns can be dropped, names are
 * shortened to as few as NAME_MIN characters.
 */
const NAME_LONG = 18;
const NAME_MIN = 12;
const UNKNOWN = '-';
const LINES_AROUND = 3;

/**
 * Renders edges as a table, worst first.
 * @param earlier earlier response, to compute rates; if undefined, the table shows totals
 */
export function flowTable(answer: FlowsSummary, earlier: FlowsSummary | undefined, room: TableRoom): string {
  const seconds = earlier === undefined ? undefined : secondsBetween(earlier, answer);
  const rows = earlier === undefined ? totalsOf(answer) : growthOf(earlier, answer);
  const shown = rows.slice(0, Math.max(1, room.lines - LINES_AROUND));
  const time = answer.collectedAt.slice(0, 'yyyy-mm-ddThh:mm:ss'.length);
  const what = seconds === undefined ? `totals at ${time}Z` : `${seconds.toFixed(1)} s up to ${time}Z`;
  const head = cutTo(visible(`${answer.node}: ${what}`), room.columns);
  if (rows.length === 0) return `${head}\nno connections\n`;
  const hidden = rows.length - shown.length + answer.omitted;
  const tail =
    hidden === 0 ? [] : [cutTo(`${hidden} more: select with --pod, --peer, --port or --failed`, room.columns)];
  return `${[head, ...layOut(shown, columnsOf(seconds), room.columns), ...tail].join('\n')}\n`;
}

function columnsOf(seconds: number | undefined): readonly Column[] {
  const per = seconds === undefined ? '' : '/S';
  const rate = (read: (counts: EdgeCounts) => number) => (row: EdgeRow) =>
    row.counts === undefined ? UNKNOWN : compact(read(row.counts) / (seconds ?? 1));
  return [
    { title: 'POD', cell: ({ edge }) => visible(ownerText(edge.namespace, edge.pod)) },
    { title: 'ROLE', cell: ({ edge }) => visible(edge.role) },
    { title: 'PEER', cell: ({ edge }) => visible(edge.peer) },
    { title: 'PORT', isNumber: true, cell: ({ edge }) => String(edge.port ?? '*') },
    { title: 'OPEN', isNumber: true, drop: 4, cell: ({ edge }) => compact(edge.open) },
    { title: `CONNS${per}`, isNumber: true, drop: 2, cell: rate(({ connections }) => connections) },
    { title: 'FAILED', isNumber: true, cell: ({ counts }) => (counts ? compact(counts.failures) : UNKNOWN) },
    { title: 'CAUSE', drop: 1, cell: ({ counts }) => visible(causeText(counts?.failed ?? {})) },
    { title: 'RETR', isNumber: true, cell: ({ counts }) => shareText(counts) },
    { title: `SENT${per}`, isNumber: true, cell: rate(({ sentBytes }) => sentBytes) },
    { title: `RECV${per}`, isNumber: true, cell: rate(({ receivedBytes }) => receivedBytes) },
    { title: 'RTT', isNumber: true, drop: 3, cell: ({ edge }) => durationText(edge.roundTripSeconds) },
  ];
}

function layOut(rows: readonly EdgeRow[], columns: readonly Column[], width: number): string[] {
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

/** Narrows the columns of names until the table fits, always the widest one first. */
function share(columns: readonly Column[], widths: number[], width: number): void {
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

/** Shortens a text in the middle, because names of Pods, and addresses, differ at their ends. */
function cutTo(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  const tail = Math.floor((width - 1) / 2);
  return `${characters.slice(0, width - 1 - tail).join('')}…${characters.slice(characters.length - tail).join('')}`;
}

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];
const THOUSAND = 1_000;

/** Formats a number with at most five characters: `0`, `0.3`, `17`, `1.2k`, `345M`. */
function compact(value: number): string {
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

/** Returns the most frequent cause, followed by `+` if there are other causes. */
function causeText(failed: Readonly<Record<string, number>>): string {
  const [first, ...others] = Object.entries(failed).sort(([, a], [, b]) => b - a);
  return first === undefined ? '' : `${first[0]}${others.length > 0 ? '+' : ''}`;
}

const PERCENT = 100;

function shareText(counts: EdgeCounts | undefined): string {
  if (counts === undefined || counts.sentSegments === 0) return UNKNOWN;
  const percent = retransmittedShare(counts) * PERCENT;
  return percent > 0 && percent < 0.1 ? '<0.1%' : `${Number(percent.toFixed(1))}%`;
}

const MICROSECONDS = 1e6;

function durationText(seconds: number | null): string {
  if (seconds === null) return UNKNOWN;
  if (seconds >= 1) return `${seconds.toFixed(1)}s`;
  const ms = seconds * THOUSAND;
  return ms >= 1 ? `${ms.toFixed(ms < 10 ? 1 : 0)}ms` : `${Math.round(seconds * MICROSECONDS)}us`;
}
