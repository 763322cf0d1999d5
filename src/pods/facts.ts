import type { Labels } from '#core/selector.ts';
import type { Workload } from './workload.ts';

/** What a Pod is called, as Kubernetes has it. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  /** All of them, not only those that are configured to be shown. */
  readonly labels: Labels;
}

/** Where Kubernetes is asked for Pods. */
export interface PodFinder {
  /** @returns undefined for a UID that is not known, or not yet */
  find(uid: string): PodFacts | undefined;
}

/** What the Kubernetes API says of a Pod. */
export interface PodName {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly workload: Workload;
  /** It uses the node's network. */
  readonly hostNetwork: boolean;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  /** Of its own network; empty where it uses the node's, and where it has ended. */
  readonly ips: readonly string[];
}

export interface PodsUpdate {
  /** `set` is all there is. */
  readonly whole: boolean;
  readonly set: readonly PodName[];
  /** UIDs. */
  readonly deleted: readonly string[];
}
