import { edgeKey, secondsBetween } from '#api/flow_rates.ts';
import type { FlowsSummary, RequestSummary } from '#api/flows.ts';
import {
  durationQuantile,
  failedRequests,
  NO_REQUESTS,
  type RequestCounts,
  requestGrowth,
} from '#api/request_rates.ts';
import { visible } from '#core/inert.ts';
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

interface Row {
  readonly edge: RequestSummary;
  /** Undefined if the previous response may have omitted the edge. */
  readonly counts: RequestCounts | undefined;
}

const NOTHING = 'no requests: the probes http and dns count them\n';

/**
 * Renders the requests of edges as a table, most failed first.
 * @param earlier earlier response, to compute rates; if undefined, the table shows totals
 */
export function requestTable(answer: FlowsSummary, earlier: FlowsSummary | undefined, room: TableRoom): string {
  const seconds = earlier === undefined ? undefined : secondsBetween(earlier, answer);
  const { edges = [], rest = [], omitted = 0 } = answer.requests ?? {};
  const past = new Map((earlier?.requests?.edges ?? []).concat(earlier?.requests?.rest ?? []).map(keyed));
  const isCut = (earlier?.requests?.omitted ?? 0) > 0;
  const rows = [...edges, ...rest].map((edge): Row => {
    const before = past.get(keyOf(edge));
    return { edge, counts: before === undefined && isCut ? undefined : requestGrowth(edge, before) };
  });
  rows.sort(
    ({ counts: a = NO_REQUESTS }, { counts: b = NO_REQUESTS }) => b.failed - a.failed || b.requests - a.requests,
  );
  const shown = rows.slice(0, Math.max(1, room.lines - LINES_AROUND));
  const time = answer.collectedAt.slice(0, 'yyyy-mm-ddThh:mm:ss'.length);
  const what = seconds === undefined ? `totals at ${time}Z` : `${seconds.toFixed(1)} s up to ${time}Z`;
  const head = cutTo(visible(`${answer.node}: requests, ${what}`), room.columns);
  if (rows.length === 0) return `${head}\n${NOTHING}`;
  const hidden = rows.length - shown.length + omitted;
  const tail =
    hidden === 0 ? [] : [cutTo(`${hidden} more: select with --pod, --peer, --port or --failed`, room.columns)];
  return `${[head, ...layOut(shown, columnsOf(seconds, room.addresses === true), room.columns), ...tail].join('\n')}\n`;
}

function keyOf(edge: RequestSummary): string {
  return `${edge.protocol} ${edgeKey(edge)}`;
}

function keyed(edge: RequestSummary): [string, RequestSummary] {
  return [keyOf(edge), edge];
}

function columnsOf(seconds: number | undefined, addresses: boolean): readonly Column<Row>[] {
  const known = (read: (counts: RequestCounts) => string) => (row: Row) =>
    row.counts === undefined ? UNKNOWN : read(row.counts);
  const quantile = (part: number) => known((counts) => durationText(durationQuantile(counts, part)));
  return [
    { title: 'POD', cell: ({ edge }) => visible(ownerText(edge.namespace, edge.pod)) },
    { title: 'ROLE', cell: ({ edge }) => visible(edge.role) },
    { title: 'PEER', cell: ({ edge }) => visible(addresses ? edge.peer : peerText(edge)) },
    { title: 'PORT', isNumber: true, cell: ({ edge }) => String(edge.port ?? '*') },
    { title: 'PROTOCOL', drop: 3, cell: ({ edge }) => visible(edge.protocol) },
    {
      title: seconds === undefined ? 'REQUESTS' : 'REQUESTS/S',
      isNumber: true,
      cell: known(({ requests }) => compact(requests / (seconds ?? 1))),
    },
    { title: 'ERRORS', isNumber: true, cell: known((counts) => percentText(failedRequests(counts))) },
    {
      title: 'DECLINED',
      isNumber: true,
      drop: 2,
      cell: known(({ requests, declined }) => percentText(requests === 0 ? null : declined / requests)),
    },
    { title: 'P50', isNumber: true, drop: 1, cell: quantile(0.5) },
    { title: 'P99', isNumber: true, cell: quantile(0.99) },
  ];
}

const PERCENT = 100;

function percentText(share: number | null): string {
  if (share === null) return UNKNOWN;
  const percent = share * PERCENT;
  return percent > 0 && percent < 0.1 ? '<0.1%' : `${Number(percent.toFixed(1))}%`;
}
