import type { Labels } from '#core/selector.ts';
import type { Workload } from './workload.ts';

/** Names of a Pod in Kubernetes. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  /** All labels, not only those that are configured to be shown. */
  readonly labels: Labels;
}

/** Looks up Pods from Kubernetes. */
export interface PodFinder {
  /** @returns undefined for a UID that is not known, or not yet */
  find(uid: string): PodFacts | undefined;
}

/** Facts about a Pod from the Kubernetes API. */
export interface PodName {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly workload: Workload;
  /** Whether it uses the node's network. */
  readonly hostNetwork: boolean;
  /** Creation time in milliseconds since the epoch. */
  readonly createdMs: number;
  /** IP addresses of its own network; empty where it uses the node's network, or has ended. */
  readonly ips: readonly string[];
}

export interface PodsUpdate {
  /** Whether `set` has all Pods. */
  readonly whole: boolean;
  readonly set: readonly PodName[];
  /** UIDs of the Pods. */
  readonly deleted: readonly string[];
}
