import { checkFields, isFields, listOf } from './fields.ts';
import { EVERYTHING, type LabelSelector } from './labels.ts';
import type { Doubt, NetworksPeer, Peer } from './model.ts';
import { type Network, parseNetwork } from './network.ts';
import { parseSelector } from './parse_selector.ts';

function doubtAbout(reason: string): Doubt {
  return { kind: 'doubt', reason };
}

/**
 * Parses a NetworkPolicyPeer (kubernetes/api, networking/v1/types.go).
 * @param namespace namespace of the policy, to which a peer without `namespaceSelector` refers
 */
export function parsePeer(value: unknown, namespace: string, path: string): Peer {
  const { fields, doubt } = checkFields(value, ['podSelector', 'namespaceSelector', 'ipBlock'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const { podSelector, namespaceSelector, ipBlock } = fields as Record<string, unknown>;
  const hasSelector = podSelector !== undefined || namespaceSelector !== undefined;
  // The API requires either selectors or a block. A peer with neither must have a field that this version does not
  // know.
  if (hasSelector === (ipBlock !== undefined)) return doubtAbout(`${path}, which is malformed`);
  if (ipBlock !== undefined) return parseBlock(ipBlock, `${path}.ipBlock`);
  return {
    kind: 'pods',
    namespaces:
      namespaceSelector === undefined ? namespace : parseSelector(namespaceSelector, `${path}.namespaceSelector`),
    pods: parseSelector(podSelector, `${path}.podSelector`),
  };
}

function parseBlock(value: unknown, path: string): NetworksPeer | Doubt {
  const { fields, doubt } = checkFields(value, ['cidr', 'except'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const within = parseNetworks([fields['cidr']], `${path}.cidr`);
  const except = parseNetworks(fields['except'] ?? [], `${path}.except`);
  if (typeof within === 'string') return doubtAbout(within);
  return typeof except === 'string' ? doubtAbout(except) : { kind: 'networks', within, except };
}

/** Returns the networks in a list. If one of them is invalid, returns the text of a doubt. */
function parseNetworks(value: unknown, path: string): Network[] | string {
  const malformed = `${path}, which is malformed`;
  if (!Array.isArray(value)) return malformed;
  const networks = value.flatMap((cidr) => (typeof cidr === 'string' ? (parseNetwork(cidr) ?? []) : []));
  return networks.length === value.length ? networks : malformed;
}

const CLUSTER_PEERS = ['namespaces', 'pods', 'nodes', 'networks', 'domainNames'] as const;

/** Parses a peer or the subject of a policy in the group policy.networking.k8s.io (network-policy-api, apis). */
export function parseClusterPeer(value: unknown, path: string): Peer {
  const { fields, doubt } = checkFields(value, CLUSTER_PEERS, path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const [kind, ...more] = CLUSTER_PEERS.filter((name) => fields[name] !== undefined);
  // The API requires exactly one field. A peer without any must have a field that this version does not know.
  if (kind === undefined || more.length > 0) return doubtAbout(`${path}, which is malformed`);
  const at = `${path}.${kind}`;
  const given = fields[kind];
  switch (kind) {
    case 'namespaces':
      return { kind: 'pods', namespaces: parseNamespaces(given, at), pods: EVERYTHING };
    case 'pods':
      return parsePods(given, at);
    case 'nodes':
      return { kind, nodes: parseSelector(given, at) };
    case 'networks': {
      const within = parseNetworks(given, at);
      return typeof within === 'string' ? doubtAbout(within) : { kind, within, except: [] };
    }
    case 'domainNames':
      return doubtAbout(`addresses of ${at}, which the network plugin looks up`);
  }
}

function parsePods(value: unknown, path: string): Peer {
  // network-policy-api v0.1.1 used `namespaces` instead of `namespaceSelector`.
  const { fields, doubt } = checkFields(value, ['namespaceSelector', 'podSelector', 'namespaces'], path);
  if (doubt !== undefined) return doubtAbout(doubt);
  const { namespaceSelector, podSelector, namespaces } = fields as Record<string, unknown>;
  if (podSelector === undefined || (namespaceSelector !== undefined && namespaces !== undefined)) {
    return doubtAbout(`${path}, which is malformed`);
  }
  return {
    kind: 'pods',
    namespaces:
      namespaces === undefined
        ? parseSelector(namespaceSelector, `${path}.namespaceSelector`)
        : parseNamespaces(namespaces, `${path}.namespaces`),
    pods: parseSelector(podSelector, `${path}.podSelector`),
  };
}

/** Fields that select namespaces by comparing them with the subject. network-policy-api removed them after v0.1.1. */
const REMOVED = ['sameLabels', 'notSameLabels', 'self', 'notSelf'];

/** Parses a selector of namespaces, which is nested in a separate field in network-policy-api v0.1.1. */
function parseNamespaces(value: unknown, path: string): LabelSelector {
  if (!isFields(value)) return parseSelector(value, path);
  const removed = REMOVED.find((name) => value[name] !== undefined && value[name] !== null);
  if (removed !== undefined) {
    return { requirements: [], doubt: `${path}.${removed}, which later versions of the API do not have` };
  }
  const isNested = value['namespaceSelector'] !== undefined;
  if (!isNested) return parseSelector(value, path);
  const { fields, doubt } = checkFields(value, ['namespaceSelector'], path);
  const selector = parseSelector(fields['namespaceSelector'], `${path}.namespaceSelector`);
  return { ...selector, doubt: selector.doubt ?? doubt };
}

/** Parses a list of peers; undefined if it is missing or empty. */
export function parsePeers(
  value: unknown,
  path: string,
  parse: (item: unknown, path: string) => Peer,
): readonly Peer[] | undefined {
  const { items, doubt } = listOf(value, path);
  if (doubt !== undefined) return [doubtAbout(doubt)];
  return items === undefined || items.length === 0
    ? undefined
    : items.map((item, index) => parse(item, `${path}[${index}]`));
}
