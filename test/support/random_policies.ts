import fc from 'fast-check';
import { type Answer, Unknown } from '#policies/answer.ts';
import type { Connection, End, KnownPod } from '#policies/connection.ts';
import type { KnownLabels } from '#policies/labels.ts';
import { CLUSTER_KINDS, type ClusterKind, PROTOCOLS } from '#policies/model.ts';
import { parseAddress } from '#policies/network.ts';
import { type PolicyKind, parsePolicy } from '#policies/parse_policy.ts';

/**
 * Generators of random policies, of connections, and of incomplete knowledge about connections. They use only a few
 * keys, values and addresses, so selectors often match.
 */

const KEYS = ['app', 'tier', 'kubernetes.io/metadata.name'] as const;
const VALUES = ['a', 'b', ''] as const;
const NAMESPACES = ['shop', 'shop', 'shop', 'data'] as const;
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '192.0.2.1', 'fd00::1'] as const;
const NETWORKS = ['10.0.0.0/24', '10.0.0.0/8', '0.0.0.0/0', '192.0.2.1/32', 'fd00::/8'] as const;
const PORTS = [80, 81, 90] as const;
const PORT_NAMES = ['http', 'dns'] as const;

/** Generates the first value in nearly all cases. */
const mostly = <T>(usual: T, rare: T) =>
  fc.oneof({ weight: 15, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constant(rare) });
/** Generates the complete value more often than a reduced one. */
const kept = <T>(whole: T, less: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(whole) }, { weight: 1, arbitrary: less });

const key = fc.constantFrom(...KEYS);
const value = fc.constantFrom(...VALUES);
const labels = fc.dictionary(key, value, { maxKeys: 3 });
const network = fc.constantFrom(...NETWORKS);
const port = fc.constantFrom(...PORTS);
const protocol = fc.constantFrom(...PROTOCOLS);

const selector = fc.oneof(
  fc.constant({}),
  fc.record({ matchLabels: fc.dictionary(key, value, { minKeys: 1, maxKeys: 2 }) }),
  fc.record({
    matchExpressions: fc.array(
      fc.oneof(
        fc.record({
          key,
          operator: fc.constantFrom('In', 'NotIn'),
          values: fc.array(value, { minLength: 1, maxLength: 2 }),
        }),
        fc.record({ key, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
      ),
      { minLength: 1, maxLength: 2 },
    ),
  }),
);

const peer = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }),
  fc.record({ namespaceSelector: selector, podSelector: selector }),
  fc.record({ ipBlock: fc.record({ cidr: network, except: fc.array(network, { maxLength: 1 }) }) }),
);
const npPort = fc.oneof(
  fc.record({ port }, { requiredKeys: ['port'] }),
  fc.record({ port: fc.constant(80), endPort: fc.constant(81), protocol }),
  fc.record({ port: fc.constantFrom(...PORT_NAMES), protocol }),
  fc.record({ protocol }),
);
const few = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 2 });

/** Generates a rule of a NetworkPolicy for the given direction. */
export const npRule = (field: 'from' | 'to') => fc.record({ [field]: few(peer), ports: few(npPort) });

/** Generates the spec of a NetworkPolicy. */
export const npSpec = fc.record(
  {
    podSelector: fc.oneof(fc.constant({}), selector),
    ingress: few(npRule('from')),
    egress: few(npRule('to')),
    policyTypes: fc.subarray(['Ingress', 'Egress']),
  },
  { requiredKeys: ['podSelector'] },
);

const namespacesPeer = fc.record({ namespaces: selector });
const podsPeer = fc.record({ pods: fc.record({ namespaceSelector: selector, podSelector: selector }) });
const ingressPeer = fc.oneof(namespacesPeer, podsPeer);
const egressPeer = fc.oneof(
  namespacesPeer,
  podsPeer,
  fc.record({ networks: fc.array(network, { minLength: 1, maxLength: 2 }) }),
  fc.record({ nodes: selector }),
);
const adminPort = fc.oneof(
  fc.record({ portNumber: fc.record({ port, protocol }) }),
  fc.record({ portRange: fc.record({ start: fc.constant(80), end: fc.constant(81), protocol }) }),
  fc.record({ namedPort: fc.constantFrom(...PORT_NAMES) }),
);
const clusterProtocol = fc.oneof(
  ...['tcp', 'udp', 'sctp'].map((name) =>
    fc.record({ [name]: fc.record({ destinationPort: fc.record({ number: port }) }) }),
  ),
  fc.record({ destinationNamedPort: fc.constantFrom(...PORT_NAMES) }),
);

/** The actions that each kind of policy allows, and the name of its field for ports. */
const CLUSTER: Readonly<
  Record<
    ClusterKind,
    { readonly actions: readonly string[]; readonly ports: Readonly<Record<string, fc.Arbitrary<object>>> }
  >
> = {
  AdminNetworkPolicy: { actions: ['Allow', 'Deny', 'Pass'], ports: { ports: few(adminPort) } },
  BaselineAdminNetworkPolicy: { actions: ['Allow', 'Deny'], ports: { ports: few(adminPort) } },
  ClusterNetworkPolicy: { actions: ['Accept', 'Deny', 'Pass'], ports: { protocols: few(clusterProtocol) } },
};

/** Generates a rule of a cluster-wide policy. */
export function clusterRule(kind: ClusterKind, field: 'from' | 'to'): fc.Arbitrary<object> {
  const peers = fc.array<object>(field === 'from' ? ingressPeer : egressPeer, { minLength: 1, maxLength: 2 });
  const { actions, ports } = CLUSTER[kind];
  return fc.record({ action: fc.constantFrom(...actions), [field]: peers, ...ports });
}

function clusterSpec(kind: ClusterKind): fc.Arbitrary<object> {
  return fc.record({
    ...(kind === 'BaselineAdminNetworkPolicy' ? {} : { priority: fc.integer({ min: 0, max: 3 }) }),
    ...(kind === 'ClusterNetworkPolicy' ? { tier: fc.constantFrom('Admin', 'Baseline') } : {}),
    subject: fc.oneof(namespacesPeer, podsPeer),
    ingress: few(clusterRule(kind, 'from')),
    egress: few(clusterRule(kind, 'to')),
  });
}

export interface GivenPolicy {
  readonly kind: PolicyKind;
  readonly object: { readonly metadata: object; readonly spec: object };
}

function given(kind: PolicyKind, spec: fc.Arbitrary<object>): fc.Arbitrary<GivenPolicy> {
  const name = fc.constantFrom('p', 'q', 'r');
  const metadata = fc.record({ name, namespace: fc.constantFrom(...NAMESPACES) });
  return fc.record({ kind: fc.constant(kind), object: fc.record({ metadata, spec }) });
}

/** Generates policies of all kinds, most of which are NetworkPolicies. */
export const policySets: fc.Arbitrary<readonly GivenPolicy[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: given('NetworkPolicy', npSpec) },
    ...CLUSTER_KINDS.map((kind) => ({ weight: 1, arbitrary: given(kind, clusterSpec(kind)) })),
  ),
  { minLength: 1, maxLength: 5 },
);

export function parseAll(all: readonly GivenPolicy[]) {
  return all.map(({ kind, object }) => parsePolicy(kind, object));
}

const complete = (values: Readonly<Record<string, string>>): KnownLabels => ({ values, isComplete: true });

const knownPod: fc.Arbitrary<KnownPod> = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  name: fc.constantFrom('x', 'y'),
  labels: labels.map(complete),
  namespaceLabels: labels.map(complete),
  ports: fc.array(fc.record({ name: fc.constantFrom(...PORT_NAMES), port, protocol }), { maxLength: 2 }),
  isHostNetwork: mostly<Answer>(false, true),
});

const addresses = fc
  .constantFrom(...ADDRESSES)
  .map((text) => [parseAddress(text)].filter((address) => address !== undefined));

const podEnds: fc.Arbitrary<End> = fc.record({ pod: knownPod, addresses }).map(({ pod, addresses: own }) => ({
  name: `${pod.namespace}/${pod.name}`,
  addresses: own,
  pod,
  isPod: true,
  isNode: false,
}));
const otherEnds: fc.Arbitrary<End> = addresses.map((own) => ({
  name: own[0]?.text ?? '',
  addresses: own,
  isPod: false,
  isNode: false,
}));
const nodeEnds: fc.Arbitrary<End> = fc.record({ whole: otherEnds, node: labels }).map(({ whole, node }) => ({
  ...whole,
  isNode: true,
  nodeLabels: complete(node),
}));
const end = fc.oneof(
  { weight: 6, arbitrary: podEnds },
  { weight: 1, arbitrary: otherEnds },
  { weight: 1, arbitrary: nodeEnds },
);

/** Generates a connection about which all facts are known. */
export const connections: fc.Arbitrary<Connection> = fc.record({
  source: end,
  destination: end,
  protocol,
  port,
  isToItself: mostly<Answer>(false, true),
  isFromOwnNode: mostly<Answer>(false, true),
});

const unknown = (what: string): fc.Arbitrary<Answer> => fc.constant(new Unknown(what));
const nothing = fc.constant(undefined);

/** Removes some labels, and marks the rest as incomplete. */
const lessLabels = (all: KnownLabels): fc.Arbitrary<KnownLabels> =>
  kept(
    all,
    fc
      .subarray(Object.entries(all.values))
      .map((entries) => ({ values: Object.fromEntries(entries), isComplete: false })),
  );

const lessPod = (pod: KnownPod): fc.Arbitrary<KnownPod> =>
  fc.record({
    namespace: fc.constant(pod.namespace),
    name: fc.constant(pod.name),
    labels: lessLabels(pod.labels),
    namespaceLabels: lessLabels(pod.namespaceLabels),
    ports: kept(pod.ports, nothing),
    isHostNetwork: kept(pod.isHostNetwork, unknown('host network')),
  });

const lessEnd = (whole: End): fc.Arbitrary<End> => {
  const { pod, nodeLabels, name } = whole;
  const lessNode = nodeLabels === undefined ? nothing : lessLabels(nodeLabels);
  return fc
    .record({
      addresses: kept(whole.addresses, nothing),
      pod: pod === undefined ? nothing : lessPod(pod).chain((less) => kept<KnownPod | undefined>(less, nothing)),
      isNode: kept(whole.isNode, unknown('whether it is a node')),
      nodeLabels: lessNode.chain((less) => kept<KnownLabels | undefined>(less, nothing)),
      isPod: kept(whole.isPod, unknown('whether it is a Pod')),
    })
    .map((less) => ({ ...less, name }));
};

/** Removes some of the known facts about a connection. */
export const lessKnown = (whole: Connection): fc.Arbitrary<Connection> =>
  fc.record({
    source: lessEnd(whole.source),
    destination: lessEnd(whole.destination),
    protocol: fc.constant(whole.protocol),
    port: kept(whole.port, nothing),
    isToItself: kept(whole.isToItself, unknown('whether it is the same Pod')),
    isFromOwnNode: kept(whole.isFromOwnNode, unknown('whether it is the same node')),
  });
