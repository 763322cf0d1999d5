import type { Peer } from '#api/events.ts';

/** Peers that events name: none, only the node and its Pods, or everything in the cluster. */
export const PEERS = ['off', 'node', 'cluster'] as const;
export type Peers = (typeof PEERS)[number];

/** Finds the owners of addresses in a cluster. */
export interface PeerLookup {
  readonly find: (ip: string) => Peer | undefined;
  /** Whether the Pod runs on this node. */
  readonly isLocal: (namespace: string, pod: string) => boolean;
  /** Whether an address has no owner in the cluster; undefined if not all addresses of the cluster are known. */
  readonly isExternal: ((ip: string) => boolean) | undefined;
}
