import type { RequestSummary } from '#api/requests.ts';
import { formatDuration } from '#core/duration.ts';
import { inertJson } from '#core/inert.ts';
import {
  type AgentAddress,
  AgentClient,
  ownerText,
  podQuery,
  type Query,
  readFormat,
  untilStopped,
} from './agent_client.ts';
import { AGENT_OPTIONS, parseOptions } from './options.ts';
import { lineFormat, timeText } from './record_lines.ts';

const STREAM = '/api/v1/requests/stream';
const NANOSECONDS_PER_SECOND = 1e9;

interface RequestsOptions extends AgentAddress {
  readonly query: Query;
  readonly output: 'json' | 'text';
}

/** Runs `netsonde requests`. */
export async function runRequests(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    follow: { type: 'boolean', short: 'f', default: false },
    since: { type: 'string' },
    pod: { type: 'string' },
    peer: { type: 'string' },
    role: { type: 'string' },
    slow: { type: 'string' },
    failed: { type: 'boolean' },
    trace: { type: 'string' },
    output: { type: 'string', short: 'o', default: 'text' },
  });
  const { url, follow, since, pod, peer, role, slow, failed, trace } = values;
  await showRequests(
    {
      url,
      tokenFile: values['token-file'],
      socketPath: values['api-socket'],
      output: readFormat(values.output),
      query: {
        ...podQuery(pod),
        peer,
        role,
        failed: failed === undefined ? undefined : String(failed),
        slow,
        traceId: trace,
        since,
        follow: String(follow),
      },
    },
    (text) => void process.stdout.write(text),
    untilStopped(),
  );
  return 0;
}

/**
 * Prints records of requests: past ones that the agent has in memory, new ones, or both.
 * @param signal stops printing
 * @throws if the agent cannot be reached or rejects the query
 */
export async function showRequests(
  { query, output, ...address }: RequestsOptions,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const client = await AgentClient.open(address);
  const show = output === 'json' ? inertJson : await lineText();
  for await (const line of client.lines(STREAM, query, signal)) print(`${show(line)}\n`);
}

/** Returns a function that formats a record as one line. The schema is loaded here, because others do not need it. */
async function lineText(): Promise<(line: string) => string> {
  const { REQUEST_SUMMARY } = await import('#api/requests.ts');
  return lineFormat(REQUEST_SUMMARY, textOf);
}

function textOf({ time, namespace, pod, failed, networkSeconds, traceId, message }: RequestSummary): string {
  const severity = failed ? 'warning' : 'info';
  const network =
    networkSeconds === null
      ? ''
      : ` ${formatDuration(Math.round(networkSeconds * NANOSECONDS_PER_SECOND))} of it on the network.`;
  const trace = traceId === null ? '' : ` Trace ${traceId}.`;
  return `${timeText(time)} ${severity} ${ownerText(namespace, pod)}: ${message}${network}${trace}`;
}
