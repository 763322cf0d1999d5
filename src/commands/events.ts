import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import type { Failure } from '#api/errors.ts';
import type { EventSummary } from '#api/events.ts';
import { inertJson, visible } from '#core/inert.ts';
import { Files } from '#files/files.ts';
import { readToken } from '#http/access.ts';
import { DEFAULT_URL, parseOptions } from './options.ts';

interface EventsOptions {
  /** Base URL of the agent. */
  readonly url: string;
  /** Path of the agent's Unix socket, which takes precedence over the URL. */
  readonly socketPath?: string | undefined;
  readonly probe?: string | undefined;
  readonly type?: string | undefined;
  /** `namespace/name`, or only the name. */
  readonly pod?: string | undefined;
  readonly since?: string | undefined;
  readonly follow: boolean;
  readonly output: 'json' | 'text';
  /** File with the bearer token that the agent requires from other machines. */
  readonly tokenFile?: string | undefined;
}

/** Runs `netsonde events`. */
export async function runEvents(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    url: { type: 'string', default: DEFAULT_URL },
    follow: { type: 'boolean', short: 'f', default: false },
    since: { type: 'string' },
    probe: { type: 'string', multiple: true },
    type: { type: 'string', multiple: true },
    pod: { type: 'string' },
    output: { type: 'string', short: 'o', default: 'text' },
    'token-file': { type: 'string' },
    'api-socket': { type: 'string' },
  });
  const { url, follow, since, pod, output } = values;
  if (output !== 'json' && output !== 'text') throw new Error(`-o ${output}: give json or text`);
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stopped.abort());
  // The reader of a pipe may exit early, as in `netsonde events --follow | head`.
  process.stdout.on('error', () => stopped.abort());
  await showEvents(
    {
      url,
      follow,
      since,
      pod,
      output,
      tokenFile: values['token-file'],
      socketPath: values['api-socket'],
      probe: values.probe?.join(),
      type: values.type?.join(),
    },
    (text) => void process.stdout.write(text),
    stopped.signal,
  );
  return 0;
}

/**
 * Prints events of an agent: past ones that it has in memory, or new ones.
 * @param signal stops it
 * @throws if the agent cannot be reached or rejects the query
 */
export async function showEvents(
  options: EventsOptions,
  print: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const url = questionOf(options);
  const token =
    options.tokenFile === undefined ? undefined : await readToken(new Files(), options.tokenFile, '--token-file');
  const { socketPath } = options;
  const response = await (socketPath === undefined ? ask(url, token, signal) : askSocket(socketPath, url, signal));
  if (!response.ok) throw new Error(`the agent responded with ${response.status}: ${await reasonOf(response)}`);
  const show = options.output === 'json' ? inertJson : await lineText();
  try {
    for await (const line of linesOf(response)) print(`${show(line)}\n`);
  } catch (error) {
    if (signal.aborted) return;
    throw new Error(`lost the connection to the agent at ${socketPath ?? url.host}: ${(error as Error).message}`);
  }
}

function questionOf({ url: base, probe, type, pod, since, follow }: EventsOptions): URL {
  if (!URL.canParse(base)) throw new Error(`--url ${base}: give a URL like http://127.0.0.1:9102`);
  const url = new URL('/api/v1/events', base);
  const [name, namespace] = (pod ?? '').split('/').reverse();
  const query = { probe, type, namespace, pod: name === '' ? undefined : name, since, follow: String(follow) };
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
  return url;
}

async function ask(url: URL, token: string | undefined, signal: AbortSignal): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    return await fetch(url, { headers: { accept: 'application/x-ndjson', ...authorization }, signal });
  } catch (error) {
    const { cause, message } = error as Error;
    throw new Error(
      `cannot connect to the agent at ${url.host} (--url): ${cause instanceof AggregateError ? (cause.errors[0] as Error).message : ((cause as Error)?.message ?? message)}`,
    );
  }
}

/** @throws if nothing listens on the socket */
async function askSocket(socketPath: string, url: URL, signal: AbortSignal): Promise<Response> {
  const call = request({
    socketPath,
    path: `${url.pathname}${url.search}`,
    headers: { accept: 'application/x-ndjson', host: 'localhost' },
    signal,
  });
  call.end();
  try {
    const [message] = (await once(call, 'response')) as [IncomingMessage];
    return new Response(Readable.toWeb(message) as ReadableStream<Uint8Array>, { status: message.statusCode ?? 0 });
  } catch (error) {
    throw new Error(`cannot connect to the agent at ${socketPath} (--api-socket): ${(error as Error).message}`);
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as Partial<Failure>;
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  let rest = '';
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

const SECOND_DIGITS = 'yyyy-mm-ddThh:mm:ss.mmm'.length;

/**
 * Returns a function that formats an event as one line. An event that this version cannot parse, because the agent has
 * another version, is shown as received. The schema is loaded here, because other commands do not need it.
 */
async function lineText(): Promise<(line: string) => string> {
  const { EVENT_SUMMARY } = await import('#api/events.ts');
  return (line) => {
    const { data } = EVENT_SUMMARY.safeParse(parseJson(line));
    return visible(data === undefined ? line : textOf(data));
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Formats the time, severity, owner, type and message. */
function textOf({ time, namespace, pod, type, severity, message, count }: EventSummary): string {
  const owner = pod === null ? '?' : [namespace, pod].filter(Boolean).join('/') || 'node';
  const times = count === undefined ? '' : ` (${count} times)`;
  return `${time.slice(0, SECOND_DIGITS)}Z ${severity} ${owner} ${type}: ${message}${times}`;
}
