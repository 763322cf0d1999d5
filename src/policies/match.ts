import { type Answer, and, some, Unknown } from './answer.ts';
import type { Connection, End } from './connection.ts';
import { selects } from './labels.ts';
import {
  type NetworksPeer,
  type NodesPeer,
  type Peer,
  PORT_MAX,
  type PodsPeer,
  type PortMatch,
  type Rule,
} from './model.ts';
import { type Address, contains } from './network.ts';

/** Whether a rule matches a connection. @param other the end of the connection that is not the subject of the policy */
export function matchesRule({ ports, peers, doubt }: Rule, connection: Connection, other: End): Answer {
  if (doubt !== undefined) return new Unknown(doubt);
  const port = ports === undefined || some(ports, (match) => matchesPort(match, connection));
  if (port === false || peers === undefined) return port;
  return and(
    port,
    some(peers, (peer) => matchesPeer(peer, other)),
  );
}

/** Whether a peer or subject in a policy selects an end. */
export function matchesPeer(peer: Peer, end: End): Answer {
  switch (peer.kind) {
    case 'pods':
      return isSelected(peer, end);
    case 'networks':
      return isWithin(peer, end);
    case 'nodes':
      return isNode(peer, end);
    case 'doubt':
      return new Unknown(peer.reason);
  }
}

/**
 * Selectors do not select Pods that use the network namespace of their node. The text of the ClusterNetworkPolicy API
 * says so. NetworkPolicy leaves it open, but most implementations do the same
 * (https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-and-hostnetwork-pods).
 */
function isSelected({ namespaces, pods }: PodsPeer, { pod, isPod, name }: End): Answer {
  if (pod === undefined) return isPod === true ? new Unknown(`labels of ${name}`) : isPod;
  if (pod.isHostNetwork === true) return false;
  const inNamespace =
    typeof namespaces === 'string'
      ? pod.namespace === namespaces
      : selects(namespaces, pod.namespaceLabels, `namespace ${pod.namespace}`);
  if (inNamespace === false) return false;
  const selected = and(inNamespace, selects(pods, pod.labels, name));
  return pod.isHostNetwork === false ? selected : and(selected, pod.isHostNetwork);
}

function isWithin({ within, except }: NetworksPeer, { addresses, name }: End): Answer {
  if (addresses === undefined || addresses.length === 0) return new Unknown(`address of ${name}`);
  const isIn = (address: Address) =>
    within.some((network) => contains(network, address)) && !except.some((network) => contains(network, address));
  const [first, ...others] = addresses.map(isIn);
  if (first === undefined || others.some((other) => other !== first)) {
    return new Unknown(`which of its addresses ${name} uses`);
  }
  return first;
}

function isNode({ nodes }: NodesPeer, { nodeLabels, isNode, name }: End): Answer {
  if (nodeLabels !== undefined) return selects(nodes, nodeLabels, `the node ${name}`);
  return isNode === true ? new Unknown(`labels of the node ${name}`) : isNode;
}

function matchesPort(match: PortMatch, connection: Connection): Answer {
  if (match.kind === 'doubt') return new Unknown(match.reason);
  const { protocol, port, destination } = connection;
  if (match.protocol !== undefined && match.protocol !== protocol) return false;
  if (match.kind === 'name') return isNamed(match.name, connection);
  if (match.first === 0 && match.last === PORT_MAX) return true;
  return port === undefined ? portUnknown(destination) : port >= match.first && port <= match.last;
}

/**
 * Whether the port of the destination is a container port with this name. An address without a Pod has no named ports.
 */
function isNamed(portName: string, { protocol, port, destination }: Connection): Answer {
  const { pod, isPod, name } = destination;
  if (pod === undefined) return isPod === true ? portsUnknown(name) : isPod;
  if (pod.isHostNetwork === true) return false;
  if (pod.ports === undefined) return portsUnknown(name);
  const named = pod.ports.filter((own) => own.name === portName && own.protocol === protocol);
  if (named.length === 0) return false;
  const isPort = port === undefined ? portUnknown(destination) : named.some((own) => own.port === port);
  return pod.isHostNetwork === false ? isPort : and(isPort, pod.isHostNetwork);
}

function portUnknown({ name }: End): Unknown {
  return new Unknown(`port of ${name} behind the address of a Service`);
}

function portsUnknown(name: string): Unknown {
  return new Unknown(`names of the container ports of ${name}`);
}
