import { setTimeout as wait } from 'node:timers/promises';
import type { FlowSummary, FlowsSummary } from '#api/flows.ts';
import { parseDuration } from '#core/duration.ts';
import { inertJson } from '#core/inert.ts';
import {
  type AgentAddress,
  AgentClient,
  ownerText,
  parseJson,
  podQuery,
  type Query,
  readFormat,
  untilStopped,
} from './agent_client.ts';
import type { TableRoom } from './edge_table.ts';
import { flowTable } from './flow_table.ts';
import { AGENT_OPTIONS, parseOptions } from './options.ts';
import { lineFormat, timeText } from './record_lines.ts';
import { requestTable } from './request_table.ts';

const PATH = '/api/v1/flows';
const STREAM = '/api/v1/flows/stream';

const NANOSECONDS_PER_MS = 1e6;
const INTERVAL = '3s';
const INTERVAL_MIN_MS = 1_000;
const INTERVAL_MAX_MS = 3_600_000;

/** Destination of the command's output. */
export interface Screen {
  readonly print: (text: string) => void;
  /** Returns the current maximum size of a table. */
  readonly room: () => TableRoom;
  /** Whether each table overwrites the previous one. */
  readonly isTerminal: boolean;
}

interface FlowsOptions extends AgentAddress {
  readonly query: Query;
  readonly output: 'json' | 'text';
  /** Milliseconds between two tables. */
  readonly intervalMs: number;
  /** Number of tables to print. */
  readonly count: number;
  /** Whether the tables show requests in place of connections. */
  readonly requests?: boolean;
}

/** Runs `netsonde flows`. */
export async function runFlows(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    follow: { type: 'boolean', short: 'f', default: false },
    since: { type: 'string' },
    namespace: { type: 'string' },
    pod: { type: 'string' },
    peer: { type: 'string' },
    port: { type: 'string' },
    role: { type: 'string' },
    failed: { type: 'boolean' },
    limit: { type: 'string' },
    interval: { type: 'string', default: INTERVAL },
    count: { type: 'string' },
    addresses: { type: 'boolean', default: false },
    requests: { type: 'boolean', default: false },
    output: { type: 'string', short: 'o', default: 'text' },
  });
  const { url, follow, since, peer, port, role, failed, limit, addresses, requests } = values;
  if (follow && requests) throw new Error('--requests: a table of totals, which --follow does not show');
  const output = readFormat(values.output);
  const pod = podQuery(values.pod);
  const query = {
    ...pod,
    namespace: values.namespace ?? pod.namespace,
    peer,
    port,
    role,
    failed: failed === undefined ? undefined : String(failed),
  };
  const { stdout } = process;
  const isTerminal = stdout.isTTY === true && output === 'text';
  const screen: Screen = {
    print: (text) => void stdout.write(text),
    room: () => ({ ...roomOf(stdout), addresses }),
    isTerminal,
  };
  const options = {
    url,
    tokenFile: values['token-file'],
    socketPath: values['api-socket'],
    output,
    intervalMs: readInterval(values.interval),
    count: readCount(values.count, isTerminal),
    requests,
  };
  const signal = untilStopped();
  if (follow) await followFlows({ ...options, query: { ...query, since } }, screen, signal);
  else await showFlows({ ...options, query: { ...query, limit } }, screen, signal);
  return 0;
}

/**
 * Shows the edges of an agent, either as tables or as the JSON of its responses. The first table shows totals, and the
 * following tables show rates.
 * @param signal stops the command
 * @throws if the agent cannot be reached, refuses the query, or does not count flows
 */
export async function showFlows(options: FlowsOptions, screen: Screen, signal: AbortSignal): Promise<void> {
  const { output, query, intervalMs, count } = options;
  const tableOf = options.requests === true ? requestTable : flowTable;
  const client = await AgentClient.open(options);
  const { FLOWS_SUMMARY } = await import('#api/flows.ts');
  let earlier: FlowsSummary | undefined;
  for (let shown = 0; shown < count; ) {
    if (earlier !== undefined) await wait(intervalMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const text = await readUnlessAborted(client, query, signal);
    if (text === undefined) return;
    const { data: answer } = FLOWS_SUMMARY.safeParse(parseJson(text));
    if (answer === undefined)
      throw new Error('the response cannot be parsed, because the agent has a different version');
    // Responses that show the same collection contain nothing new.
    if (earlier?.collectedAt === answer.collectedAt) continue;
    screen.print(
      output === 'json' ? `${inertJson(text)}\n` : onScreen(tableOf(answer, earlier, screen.room()), screen),
    );
    earlier = answer;
    shown++;
  }
}

/**
 * Shows the record of each connection when the connection ends.
 * @throws under the same conditions as {@link showFlows}
 */
export async function followFlows(options: FlowsOptions, screen: Screen, signal: AbortSignal): Promise<void> {
  const { output, query } = options;
  const client = await AgentClient.open(options);
  // This request fails if the probe is disabled, which the stream does not report.
  if ((await readUnlessAborted(client, { limit: '1' }, signal)) === undefined) return;
  const show = output === 'json' ? inertJson : await lineText();
  for await (const line of client.lines(STREAM, { ...query, follow: 'true' }, signal)) screen.print(`${show(line)}\n`);
}

async function readUnlessAborted(client: AgentClient, query: Query, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await client.read(PATH, query, signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

/** Overwrites the previous table on a terminal. Clearing the screen first would flicker. */
function onScreen(table: string, { isTerminal }: Screen): string {
  return isTerminal ? `${HOME}${table.replaceAll('\n', `${CLEAR_LINE}\n`)}${CLEAR_BELOW}` : table;
}

/** Returns a function that formats a record as one line. The schema is loaded here, because others do not need it. */
async function lineText(): Promise<(line: string) => string> {
  const { FLOW_SUMMARY } = await import('#api/flows.ts');
  return lineFormat(FLOW_SUMMARY, textOf);
}

function textOf({ time, namespace, pod, failed, cause, end, message }: FlowSummary): string {
  const severity = failed ? 'warning' : 'info';
  return `${timeText(time)} ${severity} ${ownerText(namespace, pod)} ${cause ?? end ?? ''}: ${message}`;
}

function roomOf({ isTTY, columns, rows }: NodeJS.WriteStream): TableRoom {
  // The table is not shortened if the output is not a terminal, because a program may read it.
  const all = Number.POSITIVE_INFINITY;
  return isTTY === true ? { columns, lines: rows } : { columns: all, lines: all };
}

function readInterval(text: string): number {
  const ms = (parseDuration(text) ?? 0) / NANOSECONDS_PER_MS;
  if (ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS) return ms;
  throw new Error(`--interval ${text}: give a duration from 1s to 1h, like ${INTERVAL}`);
}

function readCount(text: string | undefined, isTerminal: boolean): number {
  if (text === undefined) return isTerminal ? Number.POSITIVE_INFINITY : 1;
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new Error(`--count ${text}: give a number of tables, like 2`);
}
