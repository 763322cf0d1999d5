import type { Labels } from '#core/selector.ts';
import { type Answer, Unknown } from './answer.ts';
import type { Connection, End } from './connection.ts';
import { NO_KNOWN_LABELS, namespaceLabels } from './labels.ts';
import type { Protocol } from './model.ts';
import type { Address } from './network.ts';
import type { NodeFacts, PodFacts } from './objects.ts';

/** One end of a connection, with the facts about its Pod if it is one. */
export interface KnownEnd {
  readonly end: End;
  readonly facts?: PodFacts | undefined;
}

/**
 * Returns a Pod as the end of a connection.
 * @param labels labels of its namespace; undefined if unknown
 */
export function podEnd(facts: PodFacts, labels: Labels | undefined): KnownEnd {
  const { namespace, name, isHostNetwork, addresses, ports } = facts;
  const pod = {
    namespace,
    name,
    labels: { values: facts.labels, isComplete: true },
    namespaceLabels: namespaceLabels(namespace, labels),
    ports,
    isHostNetwork,
  };
  return { end: { name: `${namespace}/${name}`, addresses, pod, isPod: true, isNode: isHostNetwork }, facts };
}

/**
 * Returns a Pod about which only the name is known as the end of a connection.
 * @param labels labels of its namespace; undefined if unknown
 */
export function unreadPodEnd(namespace: string, name: string, labels: Labels | undefined): KnownEnd {
  const id = `${namespace}/${name}`;
  const isHostNetwork = new Unknown(`whether ${id} uses the network of its node`);
  const pod = {
    namespace,
    name,
    labels: NO_KNOWN_LABELS,
    namespaceLabels: namespaceLabels(namespace, labels),
    ports: undefined,
    isHostNetwork,
  };
  return { end: { name: id, addresses: undefined, pod, isPod: true, isNode: isHostNetwork } };
}

/**
 * Returns an address that belongs to no known Pod as the end of a connection.
 * @param isPod whether the address may belong to a Pod
 * @param node the node that has this address; undefined if none is known
 */
export function addressEnd(address: Address, isPod: Answer, node: NodeFacts | undefined): KnownEnd {
  const name = address.text;
  const nodeLabels = node && { values: node.labels, isComplete: true };
  const isNode = new Unknown(`whether ${name} is the address of a node`);
  return { end: { name, addresses: [address], isPod, nodeLabels, isNode } };
}

/** Combines two ends to a connection. @param port port of the destination; undefined if unknown */
export function connectionOf(
  source: KnownEnd,
  destination: KnownEnd,
  protocol: Protocol,
  port: number | undefined,
): Connection {
  return {
    source: inFamilyOf(source.end, destination.end),
    destination: inFamilyOf(destination.end, source.end),
    protocol,
    port,
    isToItself: isSame(source, destination),
    isFromOwnNode: isOwnNode(source, destination),
  };
}

/** Removes addresses of a family that the other end does not have. */
function inFamilyOf(end: End, other: End): End {
  if (end.addresses === undefined || other.addresses === undefined) return end;
  const families = new Set(other.addresses.map(({ isV6 }) => isV6));
  const common = end.addresses.filter(({ isV6 }) => families.has(isV6));
  return common.length === 0 || common.length === end.addresses.length ? end : { ...end, addresses: common };
}

function isSame({ end: source }: KnownEnd, { end: destination }: KnownEnd): Answer {
  if (source.pod !== undefined && destination.pod !== undefined) return source.name === destination.name;
  const [one, other] = source.pod === undefined ? [destination, source] : [source, destination];
  if (one.pod === undefined || one.pod.isHostNetwork === true || other.isPod === false) return false;
  if (one.addresses === undefined) return new Unknown(`address of ${one.name}`);
  return one.addresses.some(({ text }) => text === other.name);
}

function isOwnNode({ end: source, facts }: KnownEnd, { end: pod, facts: podFacts }: KnownEnd): Answer {
  if (pod.pod === undefined) return false;
  if (source.pod === undefined) {
    const hosts = podFacts?.hostAddresses;
    if (hosts === undefined) return new Unknown(`addresses of the node of ${pod.name}`);
    return hosts.some(({ text }) => text === source.name);
  }
  if (source.pod.isHostNetwork === false) return false;
  if (facts?.node === undefined || podFacts?.node === undefined) {
    return new Unknown(`nodes of ${source.name} and ${pod.name}`);
  }
  return facts.node === podFacts.node;
}
