import { parse } from 'yaml';
import type { Connection } from '#policies/connection.ts';
import { type Decision, type Decisions, decide, decideBoth } from '#policies/decide.ts';
import { addressEnd, connectionOf, type KnownEnd, podEnd } from '#policies/ends.ts';
import type { Direction, Policy, Protocol } from '#policies/model.ts';
import { parseAddress } from '#policies/network.ts';
import { nodeFacts, podFacts } from '#policies/objects.ts';
import { type PolicyKind, parsePolicy } from '#policies/parse_policy.ts';
import { PolicySet } from '#policies/policy_set.ts';

/** Parses policies from manifests in YAML. */
export function policiesOf(...manifests: readonly string[]): Policy[] {
  return manifests.map((text) => {
    const object = parse(text) as { kind: PolicyKind };
    return parsePolicy(object.kind, object);
  });
}

/** Parses a NetworkPolicy `shop/p` with this `spec` in YAML. */
export function networkPolicy(spec: string, name = 'p', namespace = 'shop'): Policy {
  return parsePolicy('NetworkPolicy', { metadata: { name, namespace }, spec: parse(spec) });
}

/** Parses a cluster-wide policy with this `spec` in YAML. */
export function clusterPolicy(kind: Exclude<PolicyKind, 'NetworkPolicy'>, spec: string, name = 'p'): Policy {
  return parsePolicy(kind, { metadata: { name }, spec: parse(spec) });
}

export interface PodGiven {
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels of the namespace; null if they are not known. */
  readonly namespaceLabels?: Readonly<Record<string, string>> | null;
  readonly ports?: readonly object[];
  readonly ips?: readonly string[];
  readonly hostNetwork?: boolean;
  readonly node?: string;
  /** Address of the node; null if it is not known. */
  readonly hostIP?: string | null;
}

/** Returns a Pod as one end of a connection. @param id namespace and name, such as `shop/web` */
export function pod(id: string, given: PodGiven = {}): KnownEnd {
  const [namespace, name] = id.split('/');
  const {
    labels = {},
    namespaceLabels = {},
    ports = [],
    ips = ['10.0.0.1'],
    hostNetwork,
    node,
    hostIP = '192.168.255.1',
  } = given;
  const object = {
    metadata: { namespace, name, labels },
    spec: { hostNetwork, nodeName: node, containers: [{ name: 'main', ports }] },
    status: { podIPs: ips.map((ip) => ({ ip })), hostIP },
  };
  return podEnd(podFacts(object), namespaceLabels ?? undefined);
}

/**
 * Returns an end of a connection that has an address outside of the cluster or, with `nodeLabels`, the address of a
 * node.
 */
export function address(ip: string, nodeLabels?: Readonly<Record<string, string>>): KnownEnd {
  const parsed = parseAddress(ip);
  if (parsed === undefined) throw new Error(`${ip} is no address`);
  const node = nodeLabels && nodeFacts({ metadata: { name: 'n', labels: nodeLabels } });
  return addressEnd(parsed, false, node);
}

export interface Asked {
  readonly from: KnownEnd;
  readonly to: KnownEnd;
  readonly port?: number;
  readonly protocol?: Protocol;
}

export function connection({ from, to, port = 80, protocol = 'TCP' }: Asked): Connection {
  return connectionOf(from, to, protocol, port);
}

/** Returns the decision about one direction of a connection. */
export function ask(policies: readonly Policy[], direction: Direction, asked: Asked): Decision {
  return decide(new PolicySet(policies), connection(asked), direction);
}

export function askBoth(policies: readonly Policy[], asked: Asked): Decisions {
  return decideBoth(new PolicySet(policies), connection(asked));
}
