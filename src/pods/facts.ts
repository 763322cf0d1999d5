import type { Labels } from '#core/selector.ts';
import type { Workload } from './workload.ts';

/** Names and labels of a Pod. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  /** All labels of the Pod, including those that are not shown. */
  readonly labels: Labels;
}

/** Finds the names of a Pod. */
export interface PodFinder {
  /** Returns undefined if the UID is unknown. */
  find(uid: string): PodFacts | undefined;
}

/** A Pod as described by the Kubernetes API. */
export interface PodName {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly workload: Workload;
  /** Whether the Pod uses the network namespace of its node. */
  readonly hostNetwork: boolean;
  /** Creation time in milliseconds since the epoch. */
  readonly createdMs: number;
  /** IP addresses of the Pod itself. Empty if the Pod uses the network namespace of its node, or has ended. */
  readonly ips: readonly string[];
}

export interface PodsUpdate {
  /** Whether `set` contains all Pods of the node. */
  readonly whole: boolean;
  readonly set: readonly PodName[];
  /** UIDs of deleted Pods. */
  readonly deleted: readonly string[];
}
