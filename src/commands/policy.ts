import type { ApiSession } from '#kubernetes/api.ts';
import { PolicyObjects } from '#kubernetes/policy_objects.ts';
import { Unknown } from '#policies/answer.ts';
import { type Decisions, decideBoth } from '#policies/decide.ts';
import { connectionOf, type KnownEnd } from '#policies/ends.ts';
import { type AgentAddress, readFormat, untilStopped } from './agent_client.ts';
import { AGENT_OPTIONS, parseArguments } from './options.ts';
import { ClusterWorld } from './policy/cluster_world.ts';
import { readEdges } from './policy/edges.ts';
import { FilesWorld, policiesIn } from './policy/files_world.ts';
import { readManifests } from './policy/manifests.ts';
import { type GivenEnd, type GivenTarget, parseEnd, parsePod, parseTarget } from './policy/question.ts';
import { suggest, suggestionJson, suggestionYaml } from './policy/suggest.ts';
import { type VerdictReport, verdictJson, verdictText } from './policy/verdict_text.ts';
import { whatIf, whatIfJson, whatIfText } from './policy/what_if.ts';
import { namespacesOf, type World } from './policy/world.ts';

/** Exit code for each verdict. Errors have the same exit code as an unknown verdict. */
export const EXIT_CODES: Readonly<Record<Decisions['verdict'], number>> = { allowed: 0, denied: 1, unknown: 2 };

const OPTIONS = {
  ...AGENT_OPTIONS,
  from: { type: 'string' },
  to: { type: 'string' },
  file: { type: 'string', multiple: true },
  'what-if': { type: 'string' },
  pod: { type: 'string' },
  outside: { type: 'boolean', default: false },
  output: { type: 'string', short: 'o', default: 'text' },
} as const;

export interface PolicyResult {
  /** Text for the standard output. */
  readonly text: string;
  readonly code: number;
}

/** Runs `netsonde policy`. */
export async function runPolicy(args: readonly string[]): Promise<number> {
  const { text, code } = await policy(args, untilStopped());
  process.stdout.write(text);
  return code;
}

/**
 * Runs `netsonde policy`, and returns its output.
 * @param signal aborts the requests of the command
 * @throws if an argument is invalid, a file cannot be read, or the API or the agent cannot be reached
 */
export async function policy(args: readonly string[], signal: AbortSignal): Promise<PolicyResult> {
  const { values, positionals } = parseArguments(args, OPTIONS);
  const { file = [], outside } = values;
  const isSuggestion = positionals[0] === 'suggest';
  const more = isSuggestion ? positionals.slice(1) : positionals;
  if (file.length === 0 && more.length > 0) throw new Error(`policy: ${more[0]}: unknown argument`);
  const run = isSuggestion ? suggestPolicy : values['what-if'] === undefined ? ask : foresee;
  checkOptions(values, isSuggestion);
  // The arguments are parsed first, so that invalid ones are reported even without a cluster.
  const about = run(values, readFormat(values.output), signal);
  using place = await open([...file, ...more], outside, signal);
  return await about(place.world);
}

type Values = ReturnType<typeof parseArguments<typeof OPTIONS>>['values'];
/** Parses the arguments, and returns a function that evaluates the policies of a cluster or of files. */
type Run = (values: Values, format: 'json' | 'text', signal: AbortSignal) => (world: World) => Promise<PolicyResult>;

/** Rejects options that cannot be combined, and reports missing options. */
function checkOptions(values: Values, isSuggestion: boolean): void {
  const isWhatIf = values['what-if'] !== undefined;
  const [form, allowed] = isSuggestion
    ? ['policy suggest', ['pod']]
    : isWhatIf
      ? ['policy --what-if', ['what-if']]
      : ['policy', ['from', 'to']];
  for (const name of ['from', 'to', 'what-if', 'pod'] as const) {
    if (values[name] !== undefined && !allowed.includes(name)) throw new Error(`${form}: leave out --${name}`);
  }
  const missing = allowed.filter((name) => values[name as 'from'] === undefined);
  if (missing.length > 0) throw new Error(`${form}: give ${allowed.map((name) => `--${name}`).join(' and ')}`);
}

const ask: Run = ({ from = '', to = '' }, format) => {
  const source = parseEnd(from, '--from');
  const target = parseTarget(to, '--to');
  return async (world) => {
    const report = await answer(world, source, target);
    const text = format === 'json' ? verdictJson(report) : verdictText(report);
    return { text, code: EXIT_CODES[report.decisions.verdict] };
  };
};

const foresee: Run = (values, format, signal) => async (world) => {
  const path = values['what-if'] ?? '';
  const policies = policiesIn(await readManifests([path], '--what-if'));
  if (policies.length === 0) throw new Error(`--what-if ${path}: there is no policy in it`);
  const report = await whatIf(world, await readEdges(agentOf(values), {}, signal), policies);
  return { text: format === 'json' ? whatIfJson(report) : whatIfText(report), code: EXIT_CODES[report.verdict] };
};

const suggestPolicy: Run = (values, format, signal) => {
  const { namespace, name } = parsePod(values.pod ?? '', '--pod');
  return async (world) => {
    const flows = await readEdges(agentOf(values), { namespace, pod: name }, signal);
    const suggestion = await suggest(world, flows, namespace, name);
    return { text: format === 'json' ? suggestionJson(suggestion) : suggestionYaml(suggestion), code: 0 };
  };
};

function agentOf({ url, 'token-file': tokenFile, 'api-socket': socketPath }: Values): AgentAddress {
  return { url, tokenFile, socketPath };
}

/** Reads the given files, or connects to the cluster if there are none. */
async function open(
  paths: readonly string[],
  areOutside: boolean,
  signal: AbortSignal,
): Promise<Disposable & { readonly world: World }> {
  if (paths.length > 0) {
    return { world: new FilesWorld(await readManifests(paths)), [Symbol.dispose]: () => undefined };
  }
  const { openSession } = await import('#kubernetes/session.ts');
  let session: ApiSession;
  try {
    session = openSession();
  } catch (error) {
    throw new Error(`policy: ${(error as Error).message}; give --file to read manifests instead of a cluster`);
  }
  return {
    world: new ClusterWorld(new PolicyObjects(session, signal), areOutside),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
}

async function answer(world: World, source: GivenEnd, target: GivenTarget): Promise<VerdictReport> {
  const from = await endOf(world, source, '--from');
  const to = await endOf(world, target.end, '--to');
  const given = connectionOf(from, to, target.protocol, target.port);
  const isAssumed = world.isWhole && given.isFromOwnNode instanceof Unknown;
  const connection = isAssumed ? { ...given, isFromOwnNode: false } : given;
  const decisions = decideBoth(await world.policies(namespacesOf([from.end, to.end])), connection);
  const otherGroups = await world.otherGroups();
  const assumption = `it is assumed that ${from.end.name} is not the node of ${to.end.name}`;
  return { connection, decisions, otherGroups, notes: isAssumed ? [...world.notes, assumption] : world.notes };
}

async function endOf(world: World, given: GivenEnd, option: string): Promise<KnownEnd> {
  if (given.kind === 'address') return world.address(given.address);
  const { namespace, name } = given;
  const pod = await world.pod(namespace, name);
  if (pod === undefined) throw new Error(`${option}: there is no Pod ${namespace}/${name} in ${world.name}`);
  return pod;
}
