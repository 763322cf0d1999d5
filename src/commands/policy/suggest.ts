import { stringify } from 'yaml';
import type { FlowsSummary } from '#api/flows.ts';
import { inertJson, visible, visibleLines } from '#core/inert.ts';
import { isLabel, type Labels } from '#core/selector.ts';
import { decide } from '#policies/decide.ts';
import type { KnownEnd } from '#policies/ends.ts';
import { DIRECTIONS, type Direction } from '#policies/model.ts';
import { parsePolicy } from '#policies/parse_policy.ts';
import { PolicySet } from '#policies/policy_set.ts';
import { isEstablished, type Seen, seenOf } from './edges.ts';
import type { World } from './world.ts';

/** Labels whose values differ between the Pods of a workload or between its versions. */
const PASSING_LABELS =
  /^(?:pod-template-hash|controller-revision-hash|pod-template-generation|controller-uid|job-name|statefulset\.kubernetes\.io\/.*|apps\.kubernetes\.io\/pod-index|batch\.kubernetes\.io\/.*)$/;

const PEERS = { ingress: 'from', egress: 'to' } as const;
const TYPES = { ingress: 'Ingress', egress: 'Egress' } as const;
const BITS = { v4: 32, v6: 128 } as const;

export interface Suggestion {
  readonly policy: object;
  /** Facts that the user should check before applying the policy, as sentences. */
  readonly warnings: readonly string[];
}

interface SuggestedRule {
  readonly peers: readonly object[];
  readonly ports: readonly number[];
}

/**
 * Returns the smallest NetworkPolicy that allows the established connections of a Pod. It restricts only directions in
 * which the Pod had connections.
 * @throws if there were no connections, or if the labels of the Pod are unknown
 */
export async function suggest(world: World, flows: FlowsSummary, namespace: string, name: string): Promise<Suggestion> {
  const id = `${namespace}/${name}`;
  const own = await world.pod(namespace, name);
  if (own?.facts === undefined)
    throw new Error(`--pod ${id}: its labels are not known: it is not in ${world.name}, or cannot be read`);
  if (own.facts.isHostNetwork)
    throw new Error(`--pod ${id} uses the network of its node, to which policies do not apply`);
  const mine = flows.edges.filter((edge) => edge.namespace === namespace && edge.pod === name);
  const seen: Seen[] = [];
  for (const edge of mine.filter(isEstablished)) {
    const one = await seenOf(world, edge);
    if (one !== undefined) seen.push(one);
  }
  if (seen.length === 0) throw new Error(`--pod ${id}: the agent has seen no connection of this Pod with others`);
  const selector = lasting(own.facts.labels);
  const rules = { ingress: rulesOf(seen, 'ingress', namespace), egress: rulesOf(seen, 'egress', namespace) };
  const directions = DIRECTIONS.filter((direction) => seen.some((one) => directionOf(one) === direction));
  const policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `${name.slice(0, MAX_NAME - SUFFIX.length)}${SUFFIX}`, namespace },
    spec: {
      podSelector: selectorOf(selector),
      policyTypes: directions
        .map((direction) => TYPES[direction])
        .toSorted()
        .toReversed(),
      ...Object.fromEntries(
        directions.map((direction) => [direction, rules[direction].map((rule) => ruleObject(rule, direction))]),
      ),
    },
  };
  const warnings = [
    ...warningsAbout(seen),
    ...(Object.keys(selector).length === 0
      ? [`${id} has no lasting label, so the policy selects all Pods of ${namespace}`]
      : []),
    ...(directions.includes('egress')
      ? ['only TCP was seen: look-ups of names by UDP need a rule for port 53 of the DNS server']
      : []),
    ...neverEstablished(mine.filter((edge) => !isEstablished(edge)).length),
    ...unnamed(flows, namespace, name),
    ...deniedBy(policy, seen),
  ];
  return { policy, warnings };
}

/** Maximum length of a policy's name. */
const MAX_NAME = 253;
const SUFFIX = '-seen';

function directionOf({ edge }: Seen): Direction {
  return edge.role === 'client' ? 'egress' : 'ingress';
}

/** Groups peers with the same ports into one rule. */
function rulesOf(seen: readonly Seen[], direction: Direction, namespace: string): SuggestedRule[] {
  const ports = new Map<string, Set<number>>();
  for (const one of seen) {
    if (directionOf(one) !== direction || one.connection.isFromOwnNode === true) continue;
    const peer = JSON.stringify(peerObject(direction === 'egress' ? one.server : one.client, namespace));
    const known = ports.get(peer) ?? new Set();
    // The port is undefined if the target port of a Service is unknown.
    if (one.connection.port !== undefined) known.add(one.connection.port);
    ports.set(peer, known);
  }
  const peersOf = Map.groupBy(ports, ([, set]) => [...set].toSorted((a, b) => a - b).join());
  return [...peersOf].map(([key, peers]) => ({
    ports: key === '' ? [] : key.split(',').map(Number),
    peers: peers.map(([peer]) => JSON.parse(peer) as object),
  }));
}

function ruleObject({ ports, peers }: SuggestedRule, direction: Direction): object {
  const listed = ports.length === 0 ? [{ protocol: 'TCP' }] : ports.map((port) => ({ protocol: 'TCP', port }));
  return { [PEERS[direction]]: peers, ports: listed };
}

function peerObject({ end }: KnownEnd, namespace: string): object {
  const { pod, addresses } = end;
  if (pod === undefined || pod.isHostNetwork === true) {
    const cidrs = (addresses ?? []).map(({ text, isV6 }) => `${text}/${isV6 ? BITS.v6 : BITS.v4}`);
    return { ipBlock: { cidr: cidrs[0] } };
  }
  const selector = selectorOf(lasting(pod.labels.values));
  if (pod.namespace === namespace) return { podSelector: selector };
  const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': pod.namespace } };
  return Object.keys(selector).length === 0 ? { namespaceSelector } : { namespaceSelector, podSelector: selector };
}

/** Returns the labels that stay the same when a Pod is replaced. Labels that the API would reject are left out. */
function lasting(labels: Labels): Labels {
  return Object.fromEntries(
    Object.entries(labels).filter(([key, value]) => !PASSING_LABELS.test(key) && isLabel(key, value)),
  );
}

function selectorOf(labels: Labels): object {
  return Object.keys(labels).length === 0 ? {} : { matchLabels: labels };
}

function warningsAbout(seen: readonly Seen[]): string[] {
  return seen.flatMap((one) => {
    const { edge, client, server, connection } = one;
    const text = `${client.end.name} to ${server.end.name} tcp/${edge.port}`;
    const peer = directionOf(one) === 'egress' ? server : client;
    const warnings: string[] = [];
    if (edge.connections === 1) warnings.push(`seen only once: ${text}`);
    if (connection.port === undefined) {
      warnings.push(`${text}: the port behind the Service is not known, so the rule allows all TCP ports`);
    }
    if (peer.end.pod !== undefined && Object.keys(lasting(peer.end.pod.labels.values)).length === 0) {
      warnings.push(`${text}: no lasting label of the Pod is known, so the rule allows all Pods of its namespace`);
    } else if (peer.end.pod === undefined && connection.isFromOwnNode !== true) {
      warnings.push(`${text}: allowed by its address, which may change`);
    }
    return warnings;
  });
}

function neverEstablished(count: number): string[] {
  return count === 0 ? [] : [`${count} edges on which no connection was established are not allowed`];
}

function unnamed({ rest, omitted }: FlowsSummary, namespace: string, name: string): string[] {
  const own = rest.filter((edge) => edge.namespace === namespace && edge.pod === name);
  const count = own.reduce((sum, { connections }) => sum + connections, 0);
  return [
    ...(count > 0 ? [`${count} connections have no edge of their own, so the policy may deny them`] : []),
    ...(omitted > 0 ? [`the agent left out ${omitted} edges, so the policy may deny them`] : []),
  ];
}

/** Evaluates the suggested policy. Returns a warning for each edge that it may not allow. */
function deniedBy(policy: { readonly metadata: object; readonly spec: object }, seen: readonly Seen[]): string[] {
  const set = new PolicySet([parsePolicy('NetworkPolicy', policy)]);
  return seen.flatMap((one) => {
    const { verdict } = decide(set, one.connection, directionOf(one));
    const text = `${one.client.end.name} to ${one.server.end.name} tcp/${one.edge.port}`;
    return verdict === 'allowed' ? [] : [`the policy may not allow an edge that was seen: ${text}`];
  });
}

/** Formats a suggestion as a manifest, with the warnings as comments. */
export function suggestionYaml({ policy, warnings }: Suggestion): string {
  const comments = warnings.map((warning) => `# warning: ${visible(warning)}\n`);
  return `${comments.join('')}${visibleLines(stringify(policy))}`;
}

export function suggestionJson(suggestion: Suggestion): string {
  return `${inertJson(JSON.stringify(suggestion, undefined, 2))}\n`;
}
