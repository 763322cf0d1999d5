import type { LabelSelector } from './labels.ts';
import type { Network } from './network.ts';

/**
 * Policies in the form that the evaluator uses. A `doubt` is the reason why a part cannot be evaluated, for example
 * because it has a field from a later version. Every question about that part is then answered with unknown.
 */

export const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export const DIRECTIONS = ['egress', 'ingress'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export const PORT_MAX = 65_535;

/** Range of destination ports of one protocol. */
export interface PortRange {
  readonly kind: 'range';
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

/** Name of a container port of the destination. */
export interface NamedPort {
  readonly kind: 'name';
  readonly name: string;
  /** Protocol that the container port must have; undefined for any. */
  readonly protocol: Protocol | undefined;
}

export interface Doubt {
  readonly kind: 'doubt';
  readonly reason: string;
}

export type PortMatch = PortRange | NamedPort | Doubt;

/** Selection of Pods. Pods that use the network namespace of their node are never selected. */
export interface PodsPeer {
  readonly kind: 'pods';
  /** Selector of the Pods' namespaces, or the name of their only namespace. */
  readonly namespaces: LabelSelector | string;
  readonly pods: LabelSelector;
}

/** Addresses that are in one of the networks `within` and in none of the networks `except`. */
export interface NetworksPeer {
  readonly kind: 'networks';
  readonly within: readonly Network[];
  readonly except: readonly Network[];
}

export interface NodesPeer {
  readonly kind: 'nodes';
  readonly nodes: LabelSelector;
}

export type Peer = PodsPeer | NetworksPeer | NodesPeer | Doubt;

/** Matches connections by port and peer. */
export interface Rule {
  /** Position in the policy, followed by the name of the rule if it has one: `ingress[0]`, `egress[1] (to-dns)`. */
  readonly place: string;
  /** If undefined, the rule matches any port. */
  readonly ports: readonly PortMatch[] | undefined;
  /** If undefined, the rule matches any peer. */
  readonly peers: readonly Peer[] | undefined;
  readonly doubt: string | undefined;
}

/** A NetworkPolicy (networking.k8s.io/v1). */
export interface NetworkPolicy {
  readonly kind: 'NetworkPolicy';
  /** Kind, namespace and name, as in `NetworkPolicy/shop/web`. */
  readonly id: string;
  readonly namespace: string;
  readonly pods: LabelSelector;
  /** Rules that allow connections; undefined for a direction to which the policy does not apply. */
  readonly rules: Readonly<Record<Direction, readonly Rule[] | undefined>>;
  readonly doubt: string | undefined;
}

export const ACTIONS = ['accept', 'deny', 'pass'] as const;
export type Action = (typeof ACTIONS)[number];

export interface ActionRule extends Rule {
  /** Possible actions: the action of the rule, or all actions if this version does not know it. */
  readonly actions: readonly Action[];
}

export const CLUSTER_KINDS = ['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'] as const;
export type ClusterKind = (typeof CLUSTER_KINDS)[number];

export const TIERS = ['admin', 'baseline'] as const;
export type Tier = (typeof TIERS)[number];

/** A policy that applies to all namespaces (policy.networking.k8s.io). */
export interface ClusterPolicy {
  readonly kind: ClusterKind;
  /** Kind and name, as in `AdminNetworkPolicy/tenants`. */
  readonly id: string;
  readonly tier: Tier;
  /** Priority; policies with lower values are evaluated first. */
  readonly priority: number;
  readonly subject: Peer;
  readonly rules: Readonly<Record<Direction, readonly ActionRule[]>>;
  readonly doubt: string | undefined;
}

export type Policy = NetworkPolicy | ClusterPolicy;
