import type { IncidentsSummary } from '#api/incidents.ts';
import { inertJson, visible } from '#core/inert.ts';
import { type AgentAddress, AgentClient, parseJson, podQuery, readFormat, untilStopped } from './agent_client.ts';
import { AGENT_OPTIONS, parseOptions } from './options.ts';

const PATH = '/api/v1/incidents';
const STREAM = '/api/v1/incidents/stream';

interface IncidentsOptions extends AgentAddress {
  readonly cause?: string | undefined;
  /** Name of a Pod, as `namespace/name` or `name`. */
  readonly pod?: string | undefined;
  readonly since?: string | undefined;
  readonly follow: boolean;
  readonly output: 'json' | 'text';
}

/** Runs `netsonde incidents`. */
export async function runIncidents(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...AGENT_OPTIONS,
    follow: { type: 'boolean', short: 'f', default: false },
    since: { type: 'string' },
    cause: { type: 'string' },
    pod: { type: 'string' },
    output: { type: 'string', short: 'o', default: 'text' },
  });
  const { url, follow, since, cause, pod } = values;
  const output = readFormat(values.output);
  const address = { url, tokenFile: values['token-file'], socketPath: values['api-socket'] };
  const print = (text: string) => void process.stdout.write(text);
  await showIncidents({ ...address, follow, since, cause, pod, output }, print, untilStopped());
  return 0;
}

/**
 * Prints the incidents of an agent, open ones first, or new ones as they happen.
 * @param signal stops printing
 * @throws if the agent cannot be reached or refuses the query
 */
export async function showIncidents(
  { pod, cause, since, follow, output, ...address }: IncidentsOptions,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const client = await AgentClient.open(address);
  const query = { ...podQuery(pod), cause, since };
  const show = await lineText();
  if (follow) {
    const one = (line: string) => show(`{"incidents":[${line}]}`) ?? visible(line);
    const text = output === 'json' ? inertJson : one;
    for await (const line of client.lines(STREAM, { ...query, follow: 'true' }, signal)) print(`${text(line)}\n`);
    return;
  }
  const answer = await client.read(PATH, query, signal);
  if (output === 'json') print(`${inertJson(answer)}\n`);
  else {
    const text = show(answer);
    if (text === undefined) throw new Error('the response cannot be parsed, because the agent has a different version');
    print(text === '' ? 'no incidents\n' : `${text}\n`);
  }
}

/**
 * Returns a function that formats incidents as lines; it returns undefined if it cannot parse them. The schema is
 * loaded here, because other commands do not need it.
 */
async function lineText(): Promise<(text: string) => string | undefined> {
  const { INCIDENTS_SUMMARY } = await import('#api/incidents.ts');
  return (text) => {
    const { data } = INCIDENTS_SUMMARY.safeParse(parseJson(text));
    return data?.incidents.map((incident) => visible(textOf(incident))).join('\n');
  };
}

const SECOND_DIGITS = 'yyyy-mm-ddThh:mm:ss'.length;

function textOf(incident: IncidentsSummary['incidents'][number]): string {
  const { firstTime, state, severity, cause, message } = incident;
  return `${firstTime.slice(0, SECOND_DIGITS)}Z ${state} ${severity} ${cause}: ${message}`;
}
