import type { PeerKind } from '#api/words.ts';

/** Name of the other end of a connection. */
export interface PeerIdentity {
  readonly kind: PeerKind;
  /** Kubernetes namespace; empty if there is none. */
  readonly namespace: string;
  /** Name of the Service, workload, Pod, node, network or network namespace; empty if there is none. */
  readonly name: string;
  /** Zone of the node on which the peer runs; absent if unknown. */
  readonly zone?: string;
  /** Name of the Pod in `namespace`; absent if the peer is not a Pod. */
  readonly pod?: string;
}
