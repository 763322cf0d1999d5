import { setTimeout as wait } from 'node:timers/promises';
import { BpfError } from 'bpf-napi';
import { addressOf, parseIp, portOf } from '#core/address.ts';
import { visible } from '#core/inert.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { senderOf } from '#why/arrived.ts';
import { belongs, isOfNextHop } from '#why/belongs.ts';
import { isTraceable, placeOf } from '#why/drops.ts';
import type { Evidence, PolicyFact, Role, Trial, Verdict, WitnessEvent } from '#why/evidence.ts';
import { ownPart } from '#why/own_part.ts';
import { why } from '#why/why.ts';
import { ownerText, untilStopped } from './agent_client.ts';
import { announce } from './announce.ts';
import { findPlace, netnsIdOf, type Place, RIGHTS_HELP } from './capture/place.ts';
import { policy } from './policy.ts';
import { parseReach, type ReachArguments } from './reach/arguments.ts';
import { readClientFiles } from './reach/client_files.ts';
import { type Destination, destinationOf } from './reach/destination.ts';
import { ListeningSockets, listeningPort } from './reach/listening.ts';
import type { Counts, TrialPlan } from './reach/messages.ts';
import { findRule } from './reach/rules.ts';
import { counterLines, eventLines, Story, storyJson, verdictLines } from './reach/story.ts';
import { putBackLoggers } from './reach/trace_logger.ts';
import { runTrial } from './reach/trial_thread.ts';
import { type KnownEntity, Witness } from './reach/witness.ts';

/** Milliseconds in which events of the last packets arrive. */
const LATE_MS = 1_000;
const SOON_MS = 100;
const POLICY_MS = 5_000;
/** Maximum length of the description of a use. */
const REQUEST_MAX = 500;
const EPERM = 1;
const EACCES = 13;

/** Runs `netsonde reach`. The exit code is 0 if the server was reached, and 1 if not. */
export async function runReach(args: readonly string[]): Promise<number> {
  const given = parseReach(args);
  const print = (line: string) => void process.stdout.write(`${line}\n`);
  return await reach(given, print, untilStopped());
}

/**
 * Tries a connection as a Pod would, and says what became of it.
 * @param print prints a line
 * @returns the exit code
 * @throws if the connection cannot be tried
 */
async function reach(given: ReachArguments, print: (line: string) => void, stopped: AbortSignal): Promise<number> {
  const ended = new AbortController();
  const signal = AbortSignal.any([stopped, ended.signal]);
  const place = await findPlace(given.from, given.agent, signal);
  if (place.isNode && place.note !== undefined) throw new Error(place.note);
  const told = given.output === 'text' ? print : () => undefined;
  const story = new Story(told);
  try {
    const { witnesses, absent } = await openWitnesses(given, signal);
    const entities = witnesses.flatMap((witness) => witness.entities);
    const destination = await destinationOf(given, entities, signal);
    const head = { from: place.name, to: targetText(destination, given) };
    told(visible(`reach from ${head.from} to ${head.to} (${given.protocol})`));
    for (const note of [...absent, destination.note]) if (note !== undefined) story.tell(note);
    story.tell(await recordUse(given, place, head.to));
    for (const note of await putBackLoggers()) story.tell(note);
    const evidence = await collect({ given, place, destination, witnesses, story }, signal);
    const verdict = why(evidence);
    for (const line of seenLines(evidence, witnesses)) story.tell(line);
    for (const line of verdictLines(verdict)) told(line);
    if (given.output === 'json') print(storyJson(head, story, evidence, verdict));
    return verdict.cause === 'reached' ? 0 : 1;
  } finally {
    ended.abort();
  }
}

/** Returns what the agents saw, and which of them could not tell. */
function seenLines({ events, growth }: Evidence, witnesses: readonly Witness[]): string[] {
  return [
    ...eventLines(events),
    ...counterLines(growth),
    ...witnesses.flatMap(({ node, lack }) =>
      lack === undefined ? [] : [`without the counters of the agent on ${node}: ${lack}`],
    ),
    ...witnesses.flatMap(({ lost }) => (lost === undefined ? [] : [`an agent stopped responding: ${lost}`])),
  ];
}

/** Announces the trial to the agent, and returns whether it was recorded, as a sentence. */
async function recordUse(
  { agent, protocol, tls, httpPath }: ReachArguments,
  place: Place,
  to: string,
): Promise<string> {
  const extras = [tls ? ', TLS' : '', httpPath === undefined ? '' : `, HTTP ${httpPath}`].join('');
  const netns = String(explainingRights(() => netnsIdOf(place)));
  const reason = await announce(agent, {
    command: 'reach',
    netns: [netns],
    request: `${protocol} to ${to}${extras}`.slice(0, REQUEST_MAX),
  });
  return reason === undefined
    ? 'the agent has recorded this use as an event'
    : `no agent has recorded this use: ${reason}`;
}

/** Calls a function. Names the set of rights that it needs, if it lacks one. */
function explainingRights<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw explained(error);
  }
}

function explained(error: unknown): unknown {
  const isRefused = error instanceof BpfError && (error.errno === EPERM || error.errno === EACCES);
  return isRefused ? new Error(`${error.message}; ${RIGHTS_HELP}`) : error;
}

function targetText({ host, port }: Destination, { protocol }: ReachArguments): string {
  if (protocol === 'icmp') return host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

interface Setting {
  readonly given: ReachArguments;
  readonly place: Place;
  readonly destination: Destination;
  readonly witnesses: readonly Witness[];
  readonly story: Story;
}

/** Carries out the trial, and collects what the agents saw of it. */
async function collect(
  { given, place, destination, witnesses, story }: Setting,
  signal: AbortSignal,
): Promise<Evidence> {
  const files = await readClientFiles(place, given.from.kind === 'netns' ? given.from.name : undefined);
  if (files.lack !== undefined && parseIp(destination.host) === undefined) {
    throw new Error(`the resolv.conf of ${place.name} cannot be read: ${files.lack}`);
  }
  let roleOf: (entity: KnownEntity) => Role = () => 'other';
  let sockets: ListeningSockets | undefined;
  const plan = { ...given, ...files, ...destination, netns: place.path };
  for (const witness of witnesses) witness.forget();
  const startTime = new Date().toISOString();
  const { trial: told, grown } = await runTrial(
    plan,
    (text) => story.tell(text),
    async ({ ip, local }) => {
      roleOf = rolesOf(local, ip, destination);
      const server = witnesses.flatMap(({ entities }) => entities).find((entity) => roleOf(entity) === 'server');
      if (server !== undefined) sockets = await ListeningSockets.open(BigInt(server.netns));
      await Promise.all(witnesses.map((witness) => witness.countBefore(roleOf)));
    },
    signal,
  );
  const trial = { ...told, startTime };
  for (const witness of witnesses) {
    const { ip, port } = trial;
    const counted = ip === undefined || port === 0 ? undefined : await witness.flows(roleOf, ip, port);
    if (counted !== undefined) story.tell(counted);
  }
  const found = { sockets, given, trial, grown, witnesses, roleOf, destination, clientName: place.name };
  const evidence = await gather(found, signal);
  return given.rules ? await withRule(evidence, plan, witnesses, story, signal) : evidence;
}

/** Connects once more, and names the rule that drops the packets. */
async function withRule(
  evidence: Evidence,
  plan: TrialPlan,
  witnesses: readonly Witness[],
  story: Story,
  signal: AbortSignal,
): Promise<Evidence> {
  const { trial, events } = evidence;
  const drop = events.find(isTraceable);
  const { protocol, localIp, local } = trial;
  const port = local === undefined ? undefined : portOf(local);
  if (why(evidence).cause !== 'firewall' || drop === undefined || protocol === 'icmp') return evidence;
  if (localIp === undefined || port === undefined) return evidence;
  if (!witnesses.some(({ isOwnNode, node }) => isOwnNode && node === drop.node)) {
    story.tell(`rules: the packets are dropped on the node ${drop.node}, which cannot be traced from here`);
    return evidence;
  }
  const { first, last } = DEFAULT_PORT_RANGE;
  const localPort = port === last ? first : port + 1;
  try {
    const again = () =>
      runTrial(
        { ...plan, localPort },
        () => undefined,
        async () => undefined,
        signal,
      );
    const tracing = {
      netns: BigInt(String(drop['netns'])),
      protocol,
      ip: localIp,
      port: localPort,
      isOfClient: senderOf(drop, evidence) === 'client',
      symbol: String(drop['symbol']),
    };
    const rule = await findRule(tracing, again);
    story.tell(
      `rules: ${rule === undefined ? 'no rule has dropped the packets of a second attempt' : `${rule} at ${placeOf(drop)}`}`,
    );
    return { ...evidence, isTraced: true, rule };
  } catch (error) {
    if (signal.aborted) throw error;
    story.tell(`rules: ${(explained(error) as Error).message}`);
    return { ...evidence, isTraced: true };
  }
}

/** Subscribes to the events of all agents. An agent that cannot be asked is no obstacle, but is named. */
async function openWitnesses(
  { agent, peers }: ReachArguments,
  signal: AbortSignal,
): Promise<{ readonly witnesses: readonly Witness[]; readonly absent: readonly string[] }> {
  const witnesses: Witness[] = [];
  const absent: string[] = [];
  for (const address of [agent, ...peers]) {
    try {
      witnesses.push(await Witness.open(address, signal, address === agent));
    } catch (error) {
      absent.push(`without the agent at ${address.socketPath ?? address.url}: ${(error as Error).message}`);
    }
  }
  return { witnesses, absent };
}

function rolesOf(
  local: string | undefined,
  ip: string | undefined,
  { pod }: Destination,
): (entity: KnownEntity) => Role {
  return ({ ips, namespace, pod: name }) => {
    if (local !== undefined && ips.includes(local)) return 'client';
    if (ip !== undefined && ips.includes(ip)) return 'server';
    return pod?.namespace === namespace && pod.name === name ? 'server' : 'other';
  };
}

interface Gathering {
  readonly given: ReachArguments;
  readonly trial: Trial;
  /** Growth of the client's counters, as the client's thread has read them. */
  readonly grown: Counts;
  readonly sockets: ListeningSockets | undefined;
  readonly witnesses: readonly Witness[];
  readonly roleOf: (entity: KnownEntity) => Role;
  readonly destination: Destination;
  readonly clientName: string;
}

/** Waits for late events, and returns all evidence. */
async function gather(found: Gathering, signal: AbortSignal): Promise<Evidence> {
  const { witnesses } = found;
  // A trial that the client has completed needs no witness.
  const isOver = found.trial.stage === 'done' || found.trial.names.at(-1)?.outcome === 'ENOTFOUND';
  if (witnesses.length > 0) await wait(isOver ? SOON_MS : LATE_MS, undefined, { signal });
  const first = await evidenceOf(found);
  const rest = Math.max(0, ...witnesses.map(({ foldMs }) => foldMs)) - LATE_MS;
  // Events that repeat those of other connections to the same port are sent when their window ends.
  if (why(first).sure === 'seen' || rest <= 0) return await withPolicy(first, found, signal);
  await wait(rest + LATE_MS, undefined, { signal });
  return await withPolicy(await evidenceOf(found), found, signal);
}

async function evidenceOf({
  trial,
  grown,
  sockets,
  witnesses,
  roleOf,
  clientName,
  destination,
}: Gathering): Promise<Evidence> {
  const events = witnesses.flatMap(({ events: all, isOwnNode }) =>
    all.filter((event) => belongs(event, trial)).flatMap((event) => ownPart(event, trial, isOwnNode) ?? []),
  );
  const isEarlier = ({ time }: WitnessEvent) => trial.startTime !== undefined && time < trial.startTime;
  const requests = witnesses.flatMap(({ events: all, isOwnNode }) =>
    all.filter((event) => isOfNextHop(event, events) && !(isOwnNode && isEarlier(event))),
  );
  events.push(...requests);
  const port = listeningPort(trial.port, events);
  events.push(...queueEvents(witnesses, trial, port, destination));
  const growth = (await Promise.all(witnesses.map((witness) => witness.grown(behind(roleOf, events))))).flat();
  const others = growth.filter(({ role }) => role !== 'client');
  return {
    trial,
    events: events.sort((a, b) => (a.time < b.time ? -1 : 1)),
    growth: [{ place: clientName, role: 'client', grown, hasConntrack: false }, ...others],
    listening: sockets?.since(port),
    nodes: witnesses.map(({ node }) => node),
  };
}

/** A Service hides the address of the server, which events of the connection name after its translation. */
function behind(roleOf: (entity: KnownEntity) => Role, events: readonly WitnessEvent[]): (entity: KnownEntity) => Role {
  const servers = new Set(
    events.flatMap(({ connectionServer }) =>
      typeof connectionServer === 'string' ? [addressOf(connectionServer)] : [],
    ),
  );
  return (entity) => {
    const role = roleOf(entity);
    return role === 'other' && entity.ips.some((ip) => servers.has(ip)) ? 'server' : role;
  };
}

/** Events about the accept queue of the server, which have no addresses. @param port the one that the server listens on */
function queueEvents(witnesses: readonly Witness[], trial: Trial, port: number, { pod }: Destination): WitnessEvent[] {
  const { ip } = trial;
  return witnesses.flatMap(({ events, entities, isOwnNode }) => {
    const isServer = (event: WitnessEvent) =>
      entities.some(
        (one) =>
          one.namespace === event.namespace &&
          one.pod === event.pod &&
          ((ip !== undefined && one.ips.includes(ip)) || (pod?.namespace === one.namespace && pod.name === one.pod)),
      );
    return events
      .filter((event) => event.type === 'accept_queue_full' && event['port'] === port && isServer(event))
      .flatMap((event) => ownPart(event, trial, isOwnNode) ?? []);
  });
}

const POLICY_CAUSES: readonly Verdict['cause'][] = ['firewall', 'no_answer', 'name_dropped'];

/** Adds the verdict of the network policies, if it may explain the trial and both ends are Pods. */
async function withPolicy(
  evidence: Evidence,
  { given, destination, witnesses }: Gathering,
  signal: AbortSignal,
): Promise<Evidence> {
  const { ip, port, protocol } = evidence.trial;
  const { from } = given;
  if (!POLICY_CAUSES.includes(why(evidence).cause) || from.kind !== 'pod' || protocol === 'icmp') return evidence;
  if (from.namespace === undefined || ip === undefined) return evidence;
  const entity = witnesses.flatMap((one) => one.entities).find((one) => one.kind === 'pod' && one.ips.includes(ip));
  const server = destination.pod ?? (entity && { namespace: entity.namespace, name: entity.pod });
  const to = server === undefined ? (ip.includes(':') ? `[${ip}]` : ip) : `${server.namespace}/${server.name}`;
  const args = ['--from', ownerText(from.namespace, from.pod), '--to', `${to}:${port}/${protocol}`];
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(POLICY_MS)]);
    const { text, code } = await policy(args, limit);
    const verdict: PolicyFact['verdict'] = code === 0 ? 'allowed' : code === 1 ? 'denied' : 'unknown';
    const told = text.split('\n').find((line) => line.includes('denied:')) ?? text.split('\n', 1)[0] ?? '';
    return { ...evidence, policy: { verdict, text: told.trim() } };
  } catch {
    // Without Kubernetes, or without the right to read policies, there is no verdict.
    return evidence;
  }
}
