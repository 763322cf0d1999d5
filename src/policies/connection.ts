import type { Answer } from './answer.ts';
import type { KnownLabels } from './labels.ts';
import type { Protocol } from './model.ts';
import type { Address } from './network.ts';

export interface ContainerPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: Protocol;
}

/** The facts about a Pod that are known. */
export interface KnownPod {
  readonly namespace: string;
  readonly name: string;
  readonly labels: KnownLabels;
  readonly namespaceLabels: KnownLabels;
  /** Ports of its containers; undefined if unknown. */
  readonly ports: readonly ContainerPort[] | undefined;
  /** Whether the Pod uses the network namespace of its node. */
  readonly isHostNetwork: Answer;
}

/** One end of a connection. */
export interface End {
  /** Name to display: `shop/web`, `10.0.0.1`. */
  readonly name: string;
  /** Addresses that this end may use; undefined if unknown. A connection uses one of them. */
  readonly addresses: readonly Address[] | undefined;
  readonly pod?: KnownPod | undefined;
  /** Whether this end is a Pod. Used only if `pod` is undefined. */
  readonly isPod: Answer;
  /** Labels of the node that has this address; undefined if no node is known to have it. */
  readonly nodeLabels?: KnownLabels | undefined;
  /** Whether this end is the address of a node. Used only if `nodeLabels` is undefined. */
  readonly isNode: Answer;
}

/**
 * A connection from a client to a server. If the client used the address of a Service, it has already been translated.
 */
export interface Connection {
  readonly source: End;
  readonly destination: End;
  readonly protocol: Protocol;
  /** Port of the destination; undefined if unknown. */
  readonly port: number | undefined;
  /** Whether both ends are the same Pod. */
  readonly isToItself: Answer;
  /** Whether the source is the node on which the destination runs. */
  readonly isFromOwnNode: Answer;
}
