import type { Peer } from '#api/events.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import type { Owner } from './claims.ts';

/**
 * Addresses that the agent obtains from the Kubernetes API: none; those of the node and its Pods; additionally those of
 * all nodes, all Services and the Pods behind them; or all, including Pods without a Service.
 */
export const PEERS = ['off', 'node', 'services', 'cluster'] as const;
export type Peers = (typeof PEERS)[number];

/** Called when an address may have changed its owner. If no address is given, all of them may have. */
export type OwnerListener = (ip?: string) => void;

/** Owner of an address, found without Kubernetes. */
export interface LocalOwner {
  readonly kind: 'local';
  /** Name of the network namespace. */
  readonly name: string;
}

/** A Service, and the workload to which all of its Pods with a known workload belong. */
export interface ServiceWorkload {
  /** Namespace of the Service and of the workload. */
  readonly namespace: string;
  readonly service: string;
  readonly workload: string;
}

/** Finds the owners of addresses, with data from the Kubernetes API or from this machine. */
export interface Owners {
  /** Whether owners that the agent is asked to know have not been read since its start. */
  isPending(): boolean;
  find(ip: string): Owner | LocalOwner | undefined;
  /** Whether the Pod runs on this node. */
  isLocal(namespace: string, pod: string): boolean;
  /**
   * Whether it is certain that a public address has no owner. False if the agent does not know the owners of all such
   * addresses.
   */
  isOutside(ip: string): boolean;
  /** Returns the known workloads behind Services. */
  serviceWorkloads(): readonly ServiceWorkload[];
}

/** Resolves addresses to the names that are used in metrics, events, records and the web page. */
export interface PeerLookup {
  /** Returns the peer to show in an event; undefined if it is uncertain. */
  find(ip: string): Peer | undefined;
  /**
   * Returns the identity of the peer with this address; `pending` if owners that have not been read may change it, and
   * `unknown` if it is uncertain. Never returns `self`, because only the caller knows the addresses of its entity.
   */
  identify(ip: string): PeerIdentity;
  /** Whether the Pod runs on this node. */
  isLocal(namespace: string, pod: string): boolean;
}
