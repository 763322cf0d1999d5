import type { EventSummary } from '#api/events.ts';
import { inertJson } from '#core/inert.ts';
import { type AgentAddress, AgentClient, ownerText, podQuery, readFormat, untilStopped } from './agent_client.ts';
import { AGENT_OPTIONS, parseOptions } from './options.ts';
import { lineFormat, timeText } from './record_lines.ts';

interface EventsOptions extends AgentAddress {
  readonly probe?: string | undefined;
  readonly type?: string | undefined;
  /** Name of the Pod, as `namespace/name` or `name`. */
  readonly pod?: string | undefined;
  readonly connection?: string | undefined;
  readonly since?: string | undefined;
  readonly follow: boolean;
  readonly output: 'json' | 'text';
}

/** Runs `netsonde events`. */
export async function runEvents(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    follow: { type: 'boolean', short: 'f', default: false },
    since: { type: 'string' },
    probe: { type: 'string', multiple: true },
    type: { type: 'string', multiple: true },
    pod: { type: 'string' },
    connection: { type: 'string' },
    output: { type: 'string', short: 'o', default: 'text' },
  });
  const { url, follow, since, pod, connection } = values;
  await showEvents(
    {
      url,
      follow,
      since,
      pod,
      connection,
      output: readFormat(values.output),
      tokenFile: values['token-file'],
      socketPath: values['api-socket'],
      probe: values.probe?.join(),
      type: values.type?.join(),
    },
    (text) => void process.stdout.write(text),
    untilStopped(),
  );
  return 0;
}

/**
 * Prints events of an agent: past events that the agent has in memory, new events, or both.
 * @param signal stops printing
 * @throws if the agent cannot be reached or rejects the query
 */
export async function showEvents(
  options: EventsOptions,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { probe, type, pod, connection, since, follow } = options;
  const client = await AgentClient.open(options);
  const query = { probe, type, ...podQuery(pod), connectionId: connection, since, follow: String(follow) };
  const show = options.output === 'json' ? inertJson : await lineText();
  for await (const line of client.lines('/api/v1/events', query, signal)) print(`${show(line)}\n`);
}

/** Returns a function that formats a record as one line. The schema is loaded here, because others do not need it. */
async function lineText(): Promise<(line: string) => string> {
  const { EVENT_SUMMARY } = await import('#api/events.ts');
  return lineFormat(EVENT_SUMMARY, textOf);
}

/** Formats the time, severity, owner, type and message. */
function textOf({ time, namespace, pod, type, severity, message, count }: EventSummary): string {
  const times = count === undefined ? '' : ` (${count} times)`;
  return `${timeText(time)} ${severity} ${ownerText(namespace, pod)} ${type}: ${message}${times}`;
}
