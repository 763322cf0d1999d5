import type { Peer } from '#api/events.ts';

/** Whose addresses events name: nobody's, those of this node and its Pods, or those of the whole cluster. */
export const PEERS = ['off', 'node', 'cluster'] as const;
export type Peers = (typeof PEERS)[number];

/** What is known of the addresses of a cluster. */
export interface PeerLookup {
  readonly find: (ip: string) => Peer | undefined;
  /** Whether the Pod is one of this node. */
  readonly isLocal: (namespace: string, pod: string) => boolean;
  /** Whether an address is nobody's in the cluster; undefined where not all addresses of the cluster are known. */
  readonly isExternal: ((ip: string) => boolean) | undefined;
}
