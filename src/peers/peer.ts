import type { Peer } from '#api/events.ts';

/** Addresses that events name: none, those of this node and its Pods, or those of the whole cluster. */
export const PEERS = ['off', 'node', 'cluster'] as const;
export type Peers = (typeof PEERS)[number];

/** Knowledge of a cluster's addresses. */
export interface PeerLookup {
  readonly find: (ip: string) => Peer | undefined;
  /** Says whether the Pod is on this node. */
  readonly isLocal: (namespace: string, pod: string) => boolean;
  /**
   * Says whether an address has no owner in the cluster; undefined where not all addresses of the cluster are known.
   */
  readonly isExternal: ((ip: string) => boolean) | undefined;
}
