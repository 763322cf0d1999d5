import type { FlowRole } from '#api/words.ts';
import type { PortRange } from '#sources/procfs/port_range.ts';
import type { JointBound, JointLabel } from './metric.ts';
import type { PeerIdentity } from './peer_identity.ts';
import { HIDDEN_PEER, UNKNOWN_PEER } from './peers.ts';

/** How peers are named in labels: by workload, Pod or address. */
export const IDENTITIES = ['workload', 'pod', 'address'] as const;
export type Identities = (typeof IDENTITIES)[number];

/** Maximum number of edges that are shown for each Pod, depending on the detail. */
export const EDGES_MAX = { core: 16, full: 64 } as const;

/** Maximum number of ports that are shown for each combination of role and peer. */
const PORTS_MAX = 16;

const REST = '*';

/** How the edges of Pods are shown. The options of `flow` determine it for all probes. */
export interface EdgeNaming {
  readonly identity: Identities;
  /** Whether there is a label for the zone of the peer. */
  readonly zones: boolean;
  /** Range of ports that the kernel assigns to clients. */
  readonly ephemeral: PortRange;
  /** Maximum number of edges for each Pod; undefined to use that of the bound. */
  readonly edges?: number | undefined;
  /** Maximum number of ports for each combination of role and peer; undefined to use that of the label. */
  readonly ports?: number | undefined;
}

export interface ShownEdges extends Disposable {
  change(naming: EdgeNaming): void;
}

/** Tells the probes that count by edge whether edges are wanted: while `flow` runs. */
export class SharedNaming {
  #current: EdgeNaming | undefined;
  readonly #followers = new Set<() => void>();

  /** Undefined while there are no edges. */
  get current(): EdgeNaming | undefined {
    return this.#current;
  }

  /** Shows edges until the returned object is disposed. */
  show(naming: EdgeNaming): ShownEdges {
    let shown = naming;
    const set = (to: EdgeNaming | undefined) => {
      if (this.#current === shown) this.#set(to);
    };
    this.#set(shown);
    return {
      change: (to) => {
        set(to);
        shown = to;
      },
      [Symbol.dispose]: () => set(undefined),
    };
  }

  /** @param changed called after each change */
  follow(changed: () => void): Disposable {
    this.#followers.add(changed);
    return { [Symbol.dispose]: () => void this.#followers.delete(changed) };
  }

  #set(naming: EdgeNaming | undefined): void {
    this.#current = naming;
    for (const changed of this.#followers) changed();
  }
}

/** Returns the labels of an edge, for the metrics of a bound. */
export function edgeLabels(joint: JointBound) {
  return {
    role: { help: 'Role of the Pod: client or server.', example: 'client', joint },
    peer_kind: {
      help: 'Kind of peer: service, workload, pod (with `identity: pod`), node, external, local (a network namespace on this machine that is not managed by Kubernetes), self (with `loopback`), pending (until the agent has read all names of the cluster), unknown or hidden (by a rule of `privacy`). Absent for `*`, and with `identity: address`.',
      example: 'service',
      joint,
      isOptional: true,
    },
    peer_namespace: {
      help: 'Namespace of the peer; absent if it has none.',
      example: 'shop',
      joint,
      isOptional: true,
    },
    peer: {
      help: 'Name of the peer; empty if it has none, for example if it is unknown. With `identity: address`, its address.',
      example: 'cart',
      joint,
    },
    peer_zone: {
      help: 'Zone of the peer, with `zones: true`; absent if it is unknown.',
      example: 'eu-west-1a',
      joint,
      isOptional: true,
    },
    port: { help: 'Server port.', example: '443', joint, max: PORTS_MAX },
  } as const satisfies Readonly<Record<string, JointLabel>>;
}

export interface EdgeEnd {
  readonly role: FlowRole | 'listener';
  readonly peer: string;
  /** Undefined for a rest row. */
  readonly port: number | undefined;
}

/**
 * Returns the values of the labels. An ephemeral port that the kernel has assigned to a client is not shown, because it
 * is arbitrary.
 */
export function edgeLabelsOf(
  { role, peer, port }: EdgeEnd,
  identity: PeerIdentity = UNKNOWN_PEER,
  { identity: identities, zones, ephemeral: { first, last } }: EdgeNaming,
): Record<string, string> {
  if (port === undefined) {
    return { role, peer_kind: REST, peer_namespace: REST, peer: REST, peer_zone: REST, port: REST };
  }
  const isPassing = role === 'client' && port >= first && port <= last;
  const { kind, namespace, name } = identities === 'address' ? { kind: '', namespace: '', name: peer } : identity;
  return {
    role,
    peer_kind: kind,
    peer_namespace: namespace,
    peer: name,
    peer_zone: zones ? (identity.zone ?? '') : '',
    port: isPassing ? REST : String(port),
  };
}

/** Value of the label `peer` for all peers that are not shown. */
const HIDDEN = 'hidden';

/** Returns the labels of an edge without those that describe its peer. */
export function withoutPeer(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (labels['peer'] === REST) return labels;
  const hasKind = labels['peer_kind'] !== undefined && labels['peer_kind'] !== '';
  return {
    ...labels,
    ...(hasKind ? { peer_kind: HIDDEN_PEER.kind } : {}),
    ...(labels['peer_namespace'] === undefined ? {} : { peer_namespace: '' }),
    ...(labels['peer_zone'] === undefined ? {} : { peer_zone: '' }),
    peer: HIDDEN,
  };
}
