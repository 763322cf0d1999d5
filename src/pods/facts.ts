import type { Labels } from '#core/selector.ts';
import type { Workload } from './workload.ts';

/** Names and labels of a Pod. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  /** All labels of the Pod, not only those that are shown. */
  readonly labels: Labels;
}

/** Finds the names of a Pod. */
export interface PodFinder {
  /** @returns undefined for an unknown UID */
  find(uid: string): PodFacts | undefined;
}

/** A Pod in the Kubernetes API. */
export interface PodName {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly workload: Workload;
  /** Whether the Pod uses the node's network. */
  readonly hostNetwork: boolean;
  /** Creation time in milliseconds since the epoch. */
  readonly createdMs: number;
  /** IP addresses in the Pod's own network. Empty if the Pod uses the node's network or has ended. */
  readonly ips: readonly string[];
}

export interface PodsUpdate {
  /** Whether `set` contains all Pods. */
  readonly whole: boolean;
  readonly set: readonly PodName[];
  /** UIDs of deleted Pods. */
  readonly deleted: readonly string[];
}
