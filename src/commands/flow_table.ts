import { type EdgeCounts, type EdgeRow, growthBetween, secondsBetween, totalsOf } from '#api/flow_rates.ts';
import type { FlowsSummary } from '#api/flows.ts';
import { visible } from '#core/inert.ts';
import { retransmittedShare } from '#core/worst_first.ts';
import { ownerText } from './agent_client.ts';
import {
  type Column,
  compact,
  cutTo,
  durationText,
  LINES_AROUND,
  layOut,
  peerText,
  type TableRoom,
  UNKNOWN,
} from './edge_table.ts';

/**
 * Renders edges as a table, worst first.
 * @param earlier earlier response, to compute rates; if undefined, the table shows totals
 */
export function flowTable(answer: FlowsSummary, earlier: FlowsSummary | undefined, room: TableRoom): string {
  const seconds = earlier === undefined ? undefined : secondsBetween(earlier, answer);
  const rows = earlier === undefined ? totalsOf(answer) : growthBetween(earlier, answer);
  const shown = rows.slice(0, Math.max(1, room.lines - LINES_AROUND));
  const time = answer.collectedAt.slice(0, 'yyyy-mm-ddThh:mm:ss'.length);
  const what = seconds === undefined ? `totals at ${time}Z` : `${seconds.toFixed(1)} s up to ${time}Z`;
  const head = cutTo(visible(`${answer.node}: ${what}`), room.columns);
  if (rows.length === 0) return `${head}\nno connections\n`;
  const hidden = rows.length - shown.length + answer.omitted;
  const tail =
    hidden === 0 ? [] : [cutTo(`${hidden} more: select with --pod, --peer, --port or --failed`, room.columns)];
  return `${[head, ...layOut(shown, columnsOf(seconds, room.addresses === true), room.columns), ...tail].join('\n')}\n`;
}

function columnsOf(seconds: number | undefined, addresses: boolean): readonly Column<EdgeRow>[] {
  const per = seconds === undefined ? '' : '/S';
  const rate = (read: (counts: EdgeCounts) => number) => (row: EdgeRow) =>
    row.counts === undefined ? UNKNOWN : compact(read(row.counts) / (seconds ?? 1));
  return [
    { title: 'POD', cell: ({ edge }) => visible(ownerText(edge.namespace, edge.pod)) },
    { title: 'ROLE', cell: ({ edge }) => visible(edge.role) },
    { title: 'PEER', cell: ({ edge }) => visible(addresses ? edge.peer : peerText(edge)) },
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
